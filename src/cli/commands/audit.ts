import type { Command } from 'commander'
import type { CommandContext } from '../context.js'
import { ExitCode } from '../exit-codes.js'
import { type JsonValue, type Paint, painter, printJson, printTable } from '../output.js'
import { MAX_AUDIT_TIMEOUT_MS } from '../params.js'
import { addClientOptions, type TimedOptions, wholeNumber, withClient } from './common.js'

interface PlaceJson {
  readonly world: string | null
  readonly replica: string
}

interface ItemJson {
  readonly storage: string
  readonly world: string | null
  readonly item: string
  readonly [amount: string]: string | null
}

interface BooksJson {
  readonly items: number
  readonly wrong_count: number
  readonly wrong: readonly ItemJson[]
  readonly overdrawn_count: number
  readonly overdrawn: readonly ItemJson[]
  readonly altered: readonly PlaceJson[]
}

interface ServerJson {
  readonly server_id: string
  readonly state: 'self' | 'equal' | 'differs' | 'undecided' | 'unreachable'
  readonly differences: readonly (PlaceJson & {
    readonly items: readonly { readonly storage: string; readonly item: string }[]
  })[]
  readonly undecided: readonly PlaceJson[]
  readonly books: BooksJson | null
}

type Outcome = 'balanced' | 'mismatch' | 'incomplete'

type AuditJson =
  | { readonly type: 'progress'; readonly done: number; readonly total: number }
  | ({ readonly type: 'server' } & ServerJson)
  | { readonly type: 'outcome'; readonly outcome: Outcome }

const DEFAULT_TIMEOUT_MS = 30_000
/** What takes longer than this says how far it is. */
const QUIET_MS = 1_000
const EXIT_CODES: Readonly<Record<Outcome, number>> = {
  balanced: ExitCode.ok,
  mismatch: ExitCode.failed,
  incomplete: ExitCode.tryAgain,
}

export function addAudit(
  program: Command,
  context: CommandContext,
  setExitCode: (code: number) => void,
): void {
  const command = program
    .command('audit')
    .description(
      'compare all servers and check the sums: deposited, withdrawn, compensated, rights, quantity',
    )
    .option(
      '--timeout-ms <ms>',
      'how long to try; what is not compared by then is named',
      wholeNumber(1, MAX_AUDIT_TIMEOUT_MS),
      DEFAULT_TIMEOUT_MS,
    )
  addClientOptions(command).addHelpText(
    'after',
    `
Goes over every cell of every server that this one is linked with, while they work on, and compares what both know;
and over the books of each: deposited - withdrawn + compensated = rights = quantity, not negative unless provisional
withdrawals explain it. Exit code 0: balanced. 1: a mismatch, which is a defect: keep the data directories. 75: no
mismatch was found, but not every server could be reached or compared in time.`,
  )
  command.action(async (options: TimedOptions) => setExitCode(EXIT_CODES[await audit(context, options)]))
}

async function audit(context: CommandContext, options: TimedOptions): Promise<Outcome> {
  const { stdout, stderr, variables, environment } = context
  const startMs = environment.clock.monotonicMs()
  const servers: ServerJson[] = []
  const outcome = await withClient(context, options, async (client): Promise<Outcome> => {
    const params = { timeout_ms: options.timeoutMs }
    for await (const item of client.stream('audit_mesh', params)) {
      const line = item as AuditJson
      if (line.type === 'outcome') return line.outcome
      if (line.type === 'server') {
        const { type: _, ...server } = line
        servers.push(server)
      } else if (environment.clock.monotonicMs() - startMs > QUIET_MS)
        stderr.write(`audited ${line.done} of about ${line.total} cells and items\n`)
    }
    return 'incomplete'
  })
  if (options.json) {
    printJson(stdout, { outcome, servers: servers as unknown as JsonValue })
    return outcome
  }
  const paint = painter(stdout, variables)
  printTable(
    stdout,
    ['server', 'state', 'items', 'books'],
    servers.map(({ server_id, state, books }) => [
      server_id,
      state === 'self' ? 'this server' : paintState(state, paint),
      books ? String(books.items) : '',
      books ? describeBooks(books) : 'not told',
    ]),
  )
  for (const server of servers) for (const line of explain(server)) stdout.write(`${line}\n`)
  const tone = { balanced: 'good', mismatch: 'bad', incomplete: 'doubtful' } as const
  stdout.write(`${paint(outcome, tone[outcome])}\n`)
  if (outcome === 'mismatch')
    stderr.write('a defect: keep the data directories and the logs of these servers\n')
  else if (outcome === 'incomplete')
    stderr.write(
      'nothing is wrong as far as could be seen; repeat when all servers are linked, or give it more time\n',
    )
  return outcome
}

function paintState(state: ServerJson['state'], paint: Paint): string {
  return paint(state, state === 'equal' ? 'good' : state === 'differs' ? 'bad' : 'doubtful')
}

function describeBooks({ wrong_count, overdrawn_count, altered }: BooksJson): string {
  const faults = [
    wrong_count > 0 && `${wrong_count} do not add up`,
    overdrawn_count > 0 && `${overdrawn_count} overdrawn`,
    altered.length > 0 && `${altered.length} replicas altered`,
  ]
  return faults.filter((fault) => fault !== false).join(', ') || 'balanced'
}

function explain({ server_id, differences, undecided, books }: ServerJson): string[] {
  const lines: string[] = []
  for (const difference of differences) {
    const items = difference.items.map(({ storage, item }) => `${storage} ${item}`)
    const what = items.length > 0 ? `: ${items.join(', ')}` : ''
    lines.push(`${server_id} differs in what ${placeOf(difference)} wrote${what}`)
  }
  for (const place of undecided) lines.push(`${server_id} was not compared in what ${placeOf(place)} wrote`)
  for (const place of books?.altered ?? [])
    lines.push(`${server_id}: cells of ${placeOf(place)} are not what its checksum says`)
  for (const item of [...(books?.wrong ?? []), ...(books?.overdrawn ?? [])]) {
    const { storage, world, item: name, ...amounts } = item
    const sums = Object.entries(amounts).map(([amount, value]) => `${amount.replace('_', ' ')} ${value}`)
    lines.push(`${server_id}: ${storage}${world === null ? '' : ` (${world})`} ${name}: ${sums.join(', ')}`)
  }
  return lines
}

function placeOf({ world, replica }: PlaceJson): string {
  return world === null ? replica : `${replica} (${world})`
}
