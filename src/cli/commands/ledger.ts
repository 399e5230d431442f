import { type Command, InvalidArgumentError as CommanderArgumentError } from 'commander'
import { isoTime } from '../../environment/time-text.js'
import { readLedger } from '../../ledger/file-store.js'
import { checkQuery, MAX_LIMIT } from '../../ledger/query.js'
import { NoNodeError } from '../../sync/errors.js'
import type { CommandContext } from '../context.js'
import { ControlClient } from '../control-client.js'
import { findDataDir } from '../data-directory.js'
import { describeLedgerEntry } from '../ledger-stream.js'
import { type JsonValue, painter, printJson } from '../output.js'
import { interruption } from '../signals.js'
import { addClientOptions, type CommonOptions, wholeNumber } from './common.js'

interface LedgerCommandOptions extends CommonOptions {
  readonly item?: string
  readonly storage?: string
  readonly by?: string
  /** A span before now. */
  readonly since?: number
  readonly limit: number
  readonly follow?: boolean
}

type EntryJson = Readonly<Record<string, JsonValue>>

const DEFAULT_LIMIT = 100
const UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
/** How wide a column is unless its text is longer. */
const WIDTHS = [10, 12, 30, 8, 20]

export function addLedger(program: Command, context: CommandContext): void {
  const command = program
    .command('ledger')
    .description('what was done on one server: who, what, when, and how it ended')
    .option('--item <item>', 'only that item')
    .option('--storage <id>', 'only that storage')
    .option('--by <who>', 'only what was done by that one, as the game server names it')
    .option('--since <span>', 'only what was done within so long: 90s, 15m, 2h, 7d', span)
    .option('--limit <n>', 'the newest so many of these', wholeNumber(1, MAX_LIMIT), DEFAULT_LIMIT)
    .option('--follow', 'go on with what comes, until Ctrl-C')
  addClientOptions(command).addHelpText(
    'after',
    `
Each server keeps the ledger of what was done through it (config.json: "ledger"); it is not replicated. A line is
written when its operation is durable. Where lines are missing (a crash, an overload, a full disk) a gap says so.
Without a running server the files in the data directory are read. With --json one object a line.`,
  )
  command.action((options: LedgerCommandOptions) => showLedger(context, options))
}

async function showLedger(context: CommandContext, options: LedgerCommandOptions): Promise<void> {
  const { stdout, stderr, variables, environment } = context
  const dataDir = await findDataDir(options.dataDir, context)
  const { by, follow = false, item, limit, storage } = options
  const sinceMs = options.since === undefined ? undefined : environment.clock.wallMs() - options.since
  const asked = {
    ...(item !== undefined && { item }),
    ...(storage !== undefined && { storage }),
    ...(by !== undefined && { by }),
    ...(sinceMs !== undefined && { sinceMs }),
    limit,
  }
  const paint = painter(stdout, variables)
  const print = (entry: EntryJson) => {
    if (options.json) printJson(stdout, entry)
    else if (entry.type === 'gap') stdout.write(`${paint(describeGap(entry), 'doubtful')}\n`)
    else stdout.write(`${describeLine(entry)}\n`)
  }
  const client = await connect(context, dataDir, follow)
  if (!client) {
    stderr.write('no node runs here: this is what its files hold\n')
    const query = checkQuery(asked)
    const kept = await readLedger(environment.disk, dataDir, limit, query)
    for await (const entry of kept) print(describeLedgerEntry(entry))
    return
  }
  using _ = client
  const { sinceMs: __, ...rest } = asked
  const params = { ...rest, ...(sinceMs !== undefined && { since_ms: sinceMs }), follow }
  const { signal, release } = interruption(environment.clock)
  try {
    const entries = follow ? client.follow('ledger', params, signal) : client.stream('ledger', params)
    for await (const entry of entries) print(entry as EntryJson)
  } finally {
    release()
  }
}

/** Undefined: no node runs there, and its files will do. */
async function connect(
  { environment }: CommandContext,
  dataDir: string,
  follow: boolean,
): Promise<ControlClient | undefined> {
  try {
    return await ControlClient.connect(dataDir, environment.scheduler)
  } catch (error) {
    if (!(error instanceof NoNodeError) || follow) throw error
    return undefined
  }
}

function describeLine(line: EntryJson): string {
  const { type, storage, world, item, amount, by, outcome, code, kind, withdrawal_id, operation_id } = line
  const place = world === null ? String(storage) : `${storage} (${world})`
  const columns = [String(type), place, String(item), String(amount), String(by ?? '-')]
  const details = [
    kind === 'provisional' && 'provisional',
    code !== null && code,
    withdrawal_id !== null && `withdrawal ${withdrawal_id}`,
    operation_id !== null && `operation ${operation_id}`,
  ].filter((detail) => detail !== false)
  const padded = columns.map((text, position) => text.padEnd(WIDTHS[position]!))
  return `${timeOf(line)}  ${[...padded, outcome, ...details].join('  ')}`
}

function describeGap(gap: EntryJson): string {
  const count = gap.missing === null ? 'lines may be missing' : `${gap.missing} lines are missing`
  return `${timeOf(gap)}  -- ${count}: ${gap.reason}`
}

function timeOf({ time_ms: timeMs }: EntryJson): string {
  return isoTime(Number(timeMs))
}

function span(text: string): number {
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? []
  if (unit === undefined) throw new CommanderArgumentError('a span like 90s, 15m, 2h or 7d expected.')
  return Number(count) * UNITS_MS[unit]!
}
