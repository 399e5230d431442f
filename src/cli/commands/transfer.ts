import type { Command } from 'commander'
import type { CommandContext } from '../context.js'
import { type JsonValue, printJson, printTable } from '../output.js'
import {
  addClientOptions,
  addTimeout,
  appended,
  askAll,
  askStrong,
  type CommonOptions,
  parseMetadata,
  type TimedOptions,
  wholeNumber,
} from './common.js'

interface TransferJson {
  readonly id: string
  readonly from: string
  readonly to: string
  readonly items: readonly string[]
  readonly rate: number
  readonly enabled: boolean
  readonly version: number
  readonly created_by: string
  readonly owner: string | null
  readonly state: string | null
  readonly moved: string | null
  readonly waiting_for_rights: number | null
}

interface CreateOptions extends TimedOptions {
  readonly item: string[]
  readonly rate?: number
  readonly id?: string
  readonly metadata?: string[]
}

const MAX_RATE = 1_000_000_000

export function addTransfer(program: Command, context: CommandContext): void {
  const transfer = program
    .command('transfer')
    .description("links that move items from one anchor's storage to another's (strongly consistent)")
  const list = transfer
    .command('list')
    .description('all transfers, or those at one anchor')
    .option('--anchor <id>', 'only those that begin or end there')
  addClientOptions(list).action((options: CommonOptions & { anchor?: string }) =>
    listTransfers(context, options),
  )
  const show = transfer
    .command('show')
    .description('one transfer: who runs it, and how far it has got')
    .argument('<id>')
  addTimeout(addClientOptions(show)).action((id: string, options: TimedOptions) =>
    showTransfer(context, id, options),
  )
  const create = transfer
    .command('create')
    .description('make a transfer between two anchors')
    .argument('<from>', 'id of an anchor')
    .argument('<to>', 'id of another one')
    .requiredOption(
      '--item <pattern>',
      "an item key, or a pattern like 'minecraft:*_ore' (repeatable)",
      appended,
    )
    .option('--rate <n>', 'items per second, at most', wholeNumber(1, MAX_RATE))
    .option('--id <uuid>', 'for a retry after an unknown outcome: the same id makes one transfer')
    .option('--metadata <name=value>', 'a small fact to keep with it (repeatable)', appended)
  addTimeout(addClientOptions(create)).action((from: string, to: string, options: CreateOptions) =>
    createTransfer(context, from, to, options),
  )
  const remove = transfer
    .command('delete')
    .description('remove a transfer; its anchors stay')
    .argument('<id>')
  addTimeout(addClientOptions(remove)).action((id: string, options: TimedOptions) =>
    deleteTransfer(context, id, options),
  )
}

async function listTransfers(
  context: CommandContext,
  { anchor, ...options }: CommonOptions & { readonly anchor?: string },
): Promise<void> {
  const params = anchor === undefined ? {} : { anchor }
  const all = await askAll<TransferJson>(context, options, 'transfers', params)
  if (options.json) {
    printJson(context.stdout, { transfers: all.map((transfer) => ({ ...transfer })) })
    return
  }
  if (all.length === 0) context.stderr.write('no transfer as this server sees it\n')
  const rows = all.map((each) => {
    const { id, from, to, items, rate, enabled, owner, moved } = each
    return [
      id,
      from,
      to,
      items.join(' '),
      enabled ? `${rate}/s` : 'off',
      owner ?? 'nobody',
      describeState(each),
      moved ?? '',
    ]
  })
  printTable(
    context.stdout,
    ['transfer', 'from', 'to', 'items', 'rate', 'run by', 'state', 'moved here'],
    rows,
  )
}

/** What its owner alone knows is not shown elsewhere. */
function describeState({ state, waiting_for_rights: waiting }: TransferJson): string {
  if (state === null) return ''
  return state === 'waiting-for-rights' ? `waits for rights to ${waiting} kinds of items` : state
}

async function showTransfer(context: CommandContext, id: string, options: TimedOptions): Promise<void> {
  const transfer = await askStrong<TransferJson>(context, options, 'transfer', { id })
  if (options.json) {
    printJson(context.stdout, { ...transfer })
    return
  }
  const { created_by: creator, enabled, from, items, moved, owner, rate, to, version } = transfer
  const lines: [string, string][] = [
    ['transfer', id],
    ['from', from],
    ['to', to],
    ['items', items.join(' ')],
    ['rate', enabled ? `${rate} items a second` : `${rate} items a second, disabled`],
    ['run by', owner ?? 'nobody yet'],
    ['state', transfer.state === null ? `ask ${owner ?? 'again'}` : describeState(transfer)],
    ['moved', moved === null ? `ask ${owner ?? 'again'}` : `${moved} since ${owner} took it over`],
    ['version', `${version}, made by ${creator}`],
  ]
  for (const [name, value] of lines) context.stdout.write(`${name.padEnd(10)}${value}\n`)
}

async function createTransfer(
  context: CommandContext,
  from: string,
  to: string,
  { item, rate, id, metadata, ...options }: CreateOptions,
): Promise<void> {
  const params = {
    from,
    to,
    items: item,
    ...(rate !== undefined && { rate }),
    ...(id !== undefined && { id }),
    ...(metadata && { metadata: parseMetadata(metadata) }),
  }
  const transfer = await askStrong<TransferJson>(context, options, 'transfer_create', params)
  if (options.json) printJson(context.stdout, { ...transfer })
  else context.stdout.write(`transfer ${transfer.id} leads from ${from} to ${to}\n`)
}

async function deleteTransfer(context: CommandContext, id: string, options: TimedOptions): Promise<void> {
  const done = await askStrong<JsonValue>(context, options, 'transfer_delete', { id })
  if (options.json) printJson(context.stdout, done)
  else context.stdout.write(`transfer ${id} is gone\n`)
}
