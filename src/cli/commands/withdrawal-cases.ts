import { Argument, type Command } from 'commander'
import { isoTime } from '../../environment/time-text.js'
import type { CommandContext } from '../context.js'
import { type JsonValue, printJson, printTable } from '../output.js'
import { addClientOptions, ask, askAll, type CommonOptions } from './common.js'

interface CaseJson {
  readonly id: string
  readonly server_id: string
  readonly storage: string
  readonly item: string
  readonly amount: string
  readonly made_at_ms: number
  readonly state: string
}

export function addConflict(program: Command, context: CommandContext): void {
  const conflict = program
    .command('conflict')
    .description('withdrawals of one server that lost a conflict and wait for a person')
  const list = conflict.command('list').description('those that wait on this server')
  addClientOptions(list).action((options: CommonOptions) => listCases(context, 'conflicts', options))
  const resolve = conflict
    .command('resolve')
    .description('decide one: keep lets it stand and writes off what is missing; compensate takes it back')
    .argument('<id>')
    .addArgument(new Argument('<decision>').choices(['keep', 'compensate']))
  addClientOptions(resolve).action((id: string, decision: string, options: CommonOptions) =>
    decide(context, id, decision, options),
  )
}

export function addCompensation(program: Command, context: CommandContext): void {
  const compensation = program
    .command('compensation')
    .description('withdrawals of one server that were taken back, until the game server has dealt with them')
  const list = compensation.command('list').description('those that nobody has acknowledged yet')
  addClientOptions(list).action((options: CommonOptions) => listCases(context, 'compensations', options))
  const acknowledge = compensation
    .command('acknowledge')
    .description('the items have been taken back from the player: do not tell again')
    .argument('<id>')
  addClientOptions(acknowledge).action((id: string, options: CommonOptions) =>
    acknowledgeCase(context, id, options),
  )
}

async function listCases(
  context: CommandContext,
  what: 'conflicts' | 'compensations',
  options: CommonOptions,
): Promise<void> {
  const all = await askAll<CaseJson>(context, options, what)
  if (options.json) {
    printJson(context.stdout, { [what]: all.map((each) => ({ ...each })) })
    return
  }
  if (all.length === 0) context.stderr.write(`no open ${what} on this server\n`)
  else if (what === 'conflicts')
    context.stderr.write('decide each with: silo-mesh conflict resolve <id> keep|compensate\n')
  else
    context.stderr.write(
      'take the items back from the player, then: silo-mesh compensation acknowledge <id>\n',
    )
  const rows = all.map(({ id, storage, item, amount, made_at_ms }) => [
    id,
    storage,
    item,
    amount,
    isoTime(made_at_ms),
  ])
  printTable(context.stdout, ['withdrawal', 'storage', 'item', 'amount', 'made'], rows)
}

async function decide(
  context: CommandContext,
  id: string,
  decision: string,
  options: CommonOptions,
): Promise<void> {
  const done = await ask<JsonValue>(context, options, 'conflict_resolve', { id, decision })
  if (options.json) printJson(context.stdout, done)
  else if (decision === 'keep') context.stdout.write(`${id} stands; what was missing is written off\n`)
  else
    context.stdout.write(
      `${id} is taken back. Take the items from the player, then: silo-mesh compensation acknowledge ${id}\n`,
    )
}

async function acknowledgeCase(context: CommandContext, id: string, options: CommonOptions): Promise<void> {
  const done = await ask<JsonValue>(context, options, 'compensation_acknowledge', { id })
  if (options.json) printJson(context.stdout, done)
  else context.stdout.write(`${id} is acknowledged\n`)
}
