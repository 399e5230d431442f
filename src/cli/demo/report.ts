import type { CommandContext, TextSink } from '../context.js'
import { painter, printTable } from '../output.js'
import type { AuditVerdict } from './audit-verdict.js'
import type { Convergence } from './convergence.js'
import type { MovedItems } from './moved-items.js'
import type { LoggedOperation, Outcome } from './operation-log.js'
import type { DemoCounts } from './stage.js'
import type { StructureOperation } from './structure-log.js'
import type { StructureVerdict } from './structure-verdict.js'
import type { Quantities, Verdict } from './verdict.js'
import type { WithdrawalCounts } from './withdrawal-counts.js'

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
  /** In the strong group at the end. */
  readonly anchors: number
  readonly transfers: number
  /** Ended in a chest into which nobody had put them: moved there by transfers, at least so many. */
  readonly items_moved: number
  /** Acknowledged, as the servers' own logs tell; `strong_lost` of them are missing somewhere at the end. */
  readonly strong_acknowledged: number
  readonly strong_lost: number
  readonly leader_changes: number
  /** Withdrawals that stand and were backed; provisional ones, and what became of them. */
  readonly withdrawals_backed: number
  readonly withdrawals_provisional: number
  readonly withdrawals_confirmed: number
  readonly withdrawals_compensated: number
  /** Items whose true sum is negative at the end. */
  readonly overdrawn: number
  readonly audit: 'balanced' | 'unbalanced'
  readonly convergence_ms: number
  readonly seconds: number
}

export interface DemoResult {
  readonly servers: readonly {
    readonly id: string
    readonly restarts: number
    readonly log: readonly LoggedOperation[]
    readonly structureLog: readonly StructureOperation[]
    readonly quantities: Quantities
  }[]
  readonly counts: DemoCounts
  readonly convergence: Convergence
  readonly verdict: Verdict
  readonly structure: StructureVerdict
  readonly leaderChanges: number
  readonly movedItems: MovedItems
  readonly withdrawals: WithdrawalCounts
  readonly audit: AuditVerdict
  readonly seconds: number
}

export function isGood(result: DemoResult): boolean {
  const { convergence, verdict, structure, withdrawals, audit } = result
  const isNothingLost = verdict.lost === 0n && verdict.duplicated === 0n && structure.lost === 0
  const isAllSettled = withdrawals.provisional === withdrawals.confirmed + withdrawals.compensated
  const isNothingWrong = isNothingLost && isAllSettled && audit.isBalanced && audit.overdrawn === 0
  return convergence.converged && isNothingWrong && hasHappened(result)
}

/** A run in which nothing happened proves nothing. */
function hasHappened({ servers, counts, leaderChanges, movedItems }: DemoResult): boolean {
  const hasPlayed = servers.every(({ log }) => count(log, 'acknowledged') > 0)
  const hasBuilt = servers.every(({ structureLog }) => count(structureLog, 'acknowledged') > 0)
  return hasPlayed && hasBuilt && movedItems.moved > 0n && leaderChanges >= counts.leaderKills
}

export function toJson({
  servers,
  counts,
  convergence,
  verdict,
  structure,
  movedItems,
  withdrawals,
  audit,
  leaderChanges,
  seconds,
}: DemoResult): DemoJson {
  return {
    servers: servers.length,
    operations: servers.reduce((sum, { log }) => sum + log.length, 0),
    acknowledged: servers.reduce((sum, { log }) => sum + count(log, 'acknowledged'), 0),
    converged: convergence.converged,
    lost: Number(verdict.lost),
    duplicated: Number(verdict.duplicated),
    kills: counts.kills,
    cuts: counts.cuts,
    anchors: structure.anchors,
    transfers: structure.transfers,
    items_moved: Number(movedItems.moved),
    strong_acknowledged: structure.acknowledged,
    strong_lost: structure.lost,
    leader_changes: leaderChanges,
    withdrawals_backed: withdrawals.backed,
    withdrawals_provisional: withdrawals.provisional,
    withdrawals_confirmed: withdrawals.confirmed,
    withdrawals_compensated: withdrawals.compensated,
    overdrawn: audit.overdrawn,
    audit: audit.isBalanced ? 'balanced' : 'unbalanced',
    convergence_ms: convergence.convergenceMs,
    seconds,
  }
}

export function printReport(
  sink: TextSink,
  variables: CommandContext['variables'],
  result: DemoResult,
): void {
  const { servers, convergence, verdict, structure, movedItems, leaderChanges, counts, seconds } = result
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
      `The kill left ${counted(happened + didNot + unclear, 'operation')} without an answer: by the final quantities ` +
        `${happened} had happened, ${didNot} had not${doubt}.\n`,
    )
  }
  sink.write(
    convergence.converged
      ? `All servers equal ${convergence.convergenceMs} ms after the last operation: vectors, checksums, and every quantity.\n`
      : `The servers did ${paint('not', 'bad')} become equal within ${convergence.convergenceMs} ms.\n`,
  )
  const { happened: made, didNot: notMade } = structure.unknown
  const open = made + notMade > 0 ? `; of ${made + notMade} without an answer ${made} had happened` : ''
  sink.write(
    `Strong group: ${counted(structure.anchors, 'anchor')} and ${counted(structure.transfers, 'transfer')} on every server, ` +
      `${counted(structure.acknowledged, 'operation')} acknowledged, ${number(structure.lost)} lost${open}; ` +
      `leadership passed on ${times(leaderChanges)}.\n`,
  )
  sink.write(
    `Transfers: of ${counted(movedItems.put, 'item')} put into chests ${number(movedItems.moved)} ended in another one.\n`,
  )
  const { backed, provisional, confirmed, compensated } = result.withdrawals
  const { audit } = result
  sink.write(
    `Withdrawals: ${number(backed)} backed, ${number(provisional)} provisional, of which ${number(confirmed)} were confirmed and ` +
      `${number(compensated)} compensated; ${counted(audit.overdrawn, 'item')} overdrawn; the audit is ` +
      `${audit.isBalanced ? 'balanced' : paint('unbalanced', 'bad')}.\n`,
  )
  for (const line of [...verdict.wrong, ...audit.wrong]) sink.write(`  ${line}\n`)
  const word = isGood(result) ? paint('PASSED', 'good') : paint('FAILED', 'bad')
  sink.write(
    `${paint(word, 'strong')}: ${counted(verdict.lost, 'item')} lost, ${number(verdict.duplicated)} duplicated, by the servers' own logs ` +
      `(${counted(counts.cuts, 'link')} cut, ${counted(counts.kills, 'server')} killed, ${seconds} s).\n`,
  )
}

function count(log: readonly { readonly outcome: Outcome }[], outcome: Outcome): number {
  return log.reduce((sum, operation) => sum + Number(operation.outcome === outcome), 0)
}

function items(log: readonly LoggedOperation[], kind: LoggedOperation['kind']): number {
  return log.reduce(
    (sum, operation) =>
      operation.kind === kind && operation.outcome === 'acknowledged' ? sum + operation.amount : sum,
    0,
  )
}

/** One item, two items. */
function counted(value: number | bigint, noun: string): string {
  return `${number(value)} ${noun}${BigInt(value) === 1n ? '' : 's'}`
}

function times(count: number): string {
  return count === 1 ? 'once' : `${number(count)} times`
}

function number(value: number | bigint): string {
  return value.toLocaleString('en')
}
