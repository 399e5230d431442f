import type { CommandContext, TextSink } from '../context.js'
import { painter, printTable } from '../output.js'
import type { Convergence } from './convergence.js'
import type { LoggedOperation, Outcome } from './operation-log.js'
import type { DemoCounts } from './stage.js'
import type { Quantities, Verdict } from './verdict.js'

/** The demo's last line with --json. Later phases add fields; none of these changes its meaning. */
export interface DemoJson {
  readonly servers: number
  /** Given to the mesh, as the servers' own logs tell; `acknowledged` of them were said to be durable. */
  readonly operations: number
  readonly acknowledged: number
  readonly converged: boolean
  /** Items. */
  readonly lost: number
  readonly duplicated: number
  readonly kills: number
  readonly cuts: number
  readonly convergence_ms: number
  readonly seconds: number
}

export interface DemoResult {
  readonly servers: readonly {
    readonly id: string
    readonly restarts: number
    readonly log: readonly LoggedOperation[]
    readonly quantities: Quantities
  }[]
  readonly counts: DemoCounts
  readonly convergence: Convergence
  readonly verdict: Verdict
  readonly seconds: number
}

export function isGood({ convergence, verdict, servers }: DemoResult): boolean {
  // A run in which nothing happened proves nothing.
  const acknowledged = servers.every(({ log }) => count(log, 'acknowledged') > 0)
  return convergence.converged && verdict.lost === 0n && verdict.duplicated === 0n && acknowledged
}

export function toJson({ servers, counts, convergence, verdict, seconds }: DemoResult): DemoJson {
  return {
    servers: servers.length,
    operations: servers.reduce((sum, { log }) => sum + log.length, 0),
    acknowledged: servers.reduce((sum, { log }) => sum + count(log, 'acknowledged'), 0),
    converged: convergence.converged,
    lost: Number(verdict.lost),
    duplicated: Number(verdict.duplicated),
    kills: counts.kills,
    cuts: counts.cuts,
    convergence_ms: convergence.convergenceMs,
    seconds,
  }
}

export function printReport(
  sink: TextSink,
  variables: CommandContext['variables'],
  result: DemoResult,
): void {
  const { servers, convergence, verdict, counts, seconds } = result
  const paint = painter(sink, variables)
  const rows = servers.map(({ id, restarts, log, quantities }) => [
    restarts > 0 ? `${id} (killed, restarted)` : id,
    number(log.length),
    number(count(log, 'acknowledged')),
    number(count(log, 'unknown')),
    number(count(log, 'refused')),
    number(items(log, 'deposit')),
    number(items(log, 'withdraw')),
    number(quantities.size),
    number([...quantities.values()].reduce((sum, quantity) => sum + quantity, 0n)),
  ])
  const head = [
    'server',
    'operations',
    'acknowledged',
    'unknown',
    'refused',
    'items in',
    'items out',
    'kinds seen',
    'items seen',
  ]
  printTable(sink, head, rows)
  const { happened, didNot, unclear } = verdict.unknown
  if (happened + didNot + unclear > 0) {
    const doubt = unclear > 0 ? `, ${unclear} cannot be told apart` : ''
    sink.write(
      `The kill left ${happened + didNot + unclear} operations without an answer: by the final quantities ` +
        `${happened} had happened, ${didNot} had not${doubt}.\n`,
    )
  }
  sink.write(
    convergence.converged
      ? `All servers equal ${convergence.convergenceMs} ms after the last operation: vectors, checksums, and every quantity.\n`
      : `The servers did ${paint('not', 'bad')} become equal within ${convergence.convergenceMs} ms.\n`,
  )
  for (const line of verdict.wrong) sink.write(`  ${line}\n`)
  const word = isGood(result) ? paint('PASSED', 'good') : paint('FAILED', 'bad')
  sink.write(
    `${paint(word, 'strong')}: ${number(verdict.lost)} items lost, ${number(verdict.duplicated)} duplicated, by the servers' own logs ` +
      `(${counts.cuts} link cut, ${counts.kills} server killed, ${seconds} s).\n`,
  )
}

function count(log: readonly LoggedOperation[], outcome: Outcome): number {
  return log.reduce((sum, operation) => sum + Number(operation.outcome === outcome), 0)
}

function items(log: readonly LoggedOperation[], kind: LoggedOperation['kind']): number {
  return log.reduce(
    (sum, operation) =>
      operation.kind === kind && operation.outcome === 'acknowledged' ? sum + operation.amount : sum,
    0,
  )
}

function number(value: number | bigint): string {
  return value.toLocaleString('en')
}
