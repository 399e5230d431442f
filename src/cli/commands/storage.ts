import { type Command, Option } from 'commander'
import {
  CONSISTENCY_LEVELS,
  type ConsistencyLevel,
  READ_LEVELS,
  type ReadLevel,
} from '../../sync/consistency.js'
import { UsageError } from '../../sync/errors.js'
import type { CommandContext } from '../context.js'
import { printJson, printTable } from '../output.js'
import { DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS } from '../params.js'
import { addClientOptions, ask, askAll, type CommonOptions, wholeNumber } from './common.js'

interface WorldOptions extends CommonOptions {
  readonly world?: string
}

interface ShowOptions extends WorldOptions {
  readonly level: ReadLevel
  readonly timeoutMs: number
}

interface ChangeOptions extends WorldOptions {
  readonly level: ConsistencyLevel
  readonly timeoutMs: number
  /** Of withdrawals. */
  readonly mode?: 'optimistic' | 'backed'
  readonly by: string
  readonly operationId?: string
}

interface StorageJson {
  readonly storage: string
  readonly world: string | null
  readonly items: number
  readonly quantity: string
}

interface ItemJson {
  readonly item: string
  readonly quantity: string
}

interface ChangeJson extends ItemJson {
  readonly kind?: 'backed' | 'provisional'
  readonly withdrawal_id?: string | null
}

export function addStorage(program: Command, context: CommandContext): void {
  const storage = program.command('storage').description('look into storages, and move items')
  const list = storage.command('list').description('all storages, with how much they hold')
  addClientOptions(list).action((options: CommonOptions) => listStorages(context, options))
  const show = storage
    .command('show')
    .description('the items of a storage')
    .argument('<storage>')
    .addOption(
      new Option(
        '--level <level>',
        'LOCAL: as this server has it; QUORUM, STRONG: as fresh as others have it',
      )
        .choices(READ_LEVELS)
        .default('LOCAL'),
    )
    .option(
      '--timeout-ms <ms>',
      'how long to wait for it',
      wholeNumber(1, MAX_TIMEOUT_MS),
      DEFAULT_TIMEOUT_MS,
    )
  addWorld(addClientOptions(show)).action((id: string, options: ShowOptions) =>
    showStorage(context, id, options),
  )
  for (const kind of ['deposit', 'withdraw'] as const) addChange(storage, kind, context)
}

function addChange(storage: Command, kind: 'deposit' | 'withdraw', context: CommandContext): void {
  const description = kind === 'deposit' ? 'put items in' : 'take items out, if so many are visible here'
  const command = storage
    .command(kind)
    .description(description)
    .argument('<storage>')
    .argument('<item>', "an item key, like minecraft:diamond or 'minecraft:diamond_sword{damage:5}'")
    .argument('<amount>', 'a whole number of any size')
    .addOption(
      new Option('--level <level>', 'wait until it is so safe').choices(CONSISTENCY_LEVELS).default('LOCAL'),
    )
    .option(
      '--timeout-ms <ms>',
      'how long to wait for the level, or for rights',
      wholeNumber(1, MAX_TIMEOUT_MS),
      DEFAULT_TIMEOUT_MS,
    )
    .option('--by <who>', 'who does it, for the ledger', 'operator')
    .option('--operation-id <id>', 'a name for it of your choice: done once, however often it is repeated')
  if (kind === 'withdraw') {
    command.addOption(
      new Option(
        '--mode <mode>',
        'beyond the rights of this server: at once and provisional, or only when backed',
      )
        .choices(['optimistic', 'backed'])
        .default(undefined, 'optimistic; backed at level STRONG'),
    )
  }
  addWorld(addClientOptions(command)).addHelpText(
    'after',
    `\nLOCAL: durable on this server; QUORUM: on a majority; STRONG: ${
      kind === 'deposit' ? 'on all' : 'backed, and on a majority'
    }. Exit code 75 for a level that\nwas not reached in time: what was done stands; repeat it only with the same --operation-id.`,
  )
  command.action((id: string, item: string, amount: string, options: ChangeOptions) =>
    change(context, kind, { id, item, amount }, options),
  )
}

function addWorld(command: Command): Command {
  return command.option('--world <id>', 'the storage of that name in a world; left out: the shared one')
}

async function listStorages(context: CommandContext, options: CommonOptions): Promise<void> {
  const all = await askAll<StorageJson>(context, options, 'storages')
  all.sort(
    (left, right) => compare(left.storage, right.storage) || compare(left.world ?? '', right.world ?? ''),
  )
  if (options.json) {
    printJson(context.stdout, { storages: all.map((storage) => ({ ...storage })) })
    return
  }
  if (all.length === 0) context.stderr.write('no storage yet: the first deposit makes one\n')
  const rows = all.map(({ storage, world, items, quantity }) => [
    storage,
    world ?? '(shared)',
    String(items),
    quantity,
  ])
  printTable(context.stdout, ['storage', 'world', 'kinds of item', 'items in all'], rows)
}

async function showStorage(
  context: CommandContext,
  storage: string,
  { level, timeoutMs, ...options }: ShowOptions,
): Promise<void> {
  const world = options.world === undefined ? {} : { world: options.world }
  const params = { storage, level, timeout_ms: timeoutMs, ...world }
  const items = await askAll<ItemJson>(context, options, 'storage', params)
  items.sort((left, right) => compare(left.item, right.item))
  if (options.json) {
    printJson(context.stdout, {
      storage,
      world: options.world ?? null,
      items: items.map((item) => ({ ...item })),
    })
    return
  }
  if (items.length === 0) context.stderr.write(`${storage} is empty\n`)
  printTable(
    context.stdout,
    ['item', 'quantity'],
    items.map(({ item, quantity }) => [item, quantity]),
  )
}

async function change(
  context: CommandContext,
  kind: 'deposit' | 'withdraw',
  { id, item, amount }: { id: string; item: string; amount: string },
  { level, timeoutMs, world, mode, by, operationId, ...options }: ChangeOptions,
): Promise<void> {
  if (!/^\d+$/.test(amount)) throw new UsageError(`amount ${JSON.stringify(amount)}: a whole number expected`)
  const params = {
    storage: id,
    item,
    amount,
    level,
    timeout_ms: timeoutMs,
    by,
    ...(world !== undefined && { world }),
    ...(mode !== undefined && { mode }),
    ...(operationId !== undefined && { operation_id: operationId }),
  }
  // Once for the rights, once for the level.
  const done = await ask<ChangeJson>(context, options, kind, params, 2 * timeoutMs)
  if (options.json) {
    printJson(context.stdout, { ...done })
    return
  }
  const { quantity, kind: hold, withdrawal_id: withdrawalId } = done
  const verb = kind === 'deposit' ? 'deposited' : 'withdrew'
  context.stdout.write(`${verb} ${amount} ${item}; ${id} now holds ${quantity}\n`)
  if (hold === 'provisional')
    context.stdout.write(
      `provisional (${withdrawalId}): confirmed when the rights to it arrive; otherwise it is taken back, and ` +
        '`silo-mesh compensation list` tells so\n',
    )
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}
