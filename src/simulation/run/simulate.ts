import { isUndecided } from '../../crdt/provisional.js'
import { SILENT_LINK_MS } from '../../link/open-link.js'
import type { MeshNode } from '../../node/mesh-node.js'
import type { MemberStatus } from '../../node/status.js'
import { OBSERVE_EVERY_MS } from '../checkers/checker.js'
import type { Server } from '../cluster/server.js'
import { FaultInjector } from '../faults/injector.js'
import type { Mutant } from '../mutants/mutant.js'
import type { RecordedTrace } from '../trace/recorder.js'
import { provisionalsOf } from '../withdrawals/provisionals.js'
import { WORKLOADS } from '../workloads/all.js'
import { Acquaintances } from './acquaintances.js'
import { Agreement } from './agreement.js'
import { audited } from './audited.js'
import type { RunOptions } from './options.js'
import { Run, stackOf } from './run.js'
import type { Violation } from './violation.js'
import type { WithdrawalCounts } from './withdrawal-book.js'

export interface RunResult {
  readonly options: RunOptions
  readonly violation: Violation | undefined
  /** Set when the run ended early at a documented limit of the product. */
  readonly excuse: string | undefined
  readonly traceHash: string
  readonly events: number
  readonly virtualMs: number
  readonly operations: number
  readonly withdrawals: WithdrawalCounts
  readonly trace: RecordedTrace | undefined
}

export interface SimulateExtras {
  /** Keep what the space-time diagram needs. */
  readonly record?: boolean
  /** Break the product in this way first. */
  readonly mutant?: Mutant | undefined
}

/** Runs one history from its options to its end, or to the first broken promise. One at a time per process. */
export async function simulate(options: RunOptions, extras: SimulateExtras = {}): Promise<RunResult> {
  const run = new Run(options, extras.record ?? false)
  const onRejection = (reason: unknown) =>
    run.fail('N1', `unhandled rejection: ${stackOf(reason)}`, undefined)
  process.on('unhandledRejection', onRejection)
  run.atCleanUp(() => process.off('unhandledRejection', onRejection))
  // What a microtask of a node throws does not pass through the kernel.
  const onException = (error: unknown) => run.fail('N1', `uncaught: ${stackOf(error)}`, undefined)
  process.on('uncaughtException', onException)
  run.atCleanUp(() => process.off('uncaughtException', onException))
  try {
    extras.mutant?.apply(run)
    await phases(run)
  } finally {
    run.cleanUp()
  }
  const { kernel, recorder } = run.cluster
  return {
    options,
    violation: run.violation,
    excuse: run.excuse,
    traceHash: kernel.hash.digest(),
    events: kernel.executed,
    virtualMs: kernel.nowUs / 1000,
    operations: run.ledger.entries.length + run.strong.operations + run.transfers.operations,
    withdrawals: run.withdrawals.counts,
    trace: recorder?.trace(),
  }
}

/** Longest time in which a healed node answers what a workload asks of it at last; above the timeouts for that. */
const FINISH_MS = SILENT_LINK_MS + 20_000

/** In a mesh that agrees every withdrawal is settled within this: requests are repeated, resolvers overruled. */
const SETTLE_MS = 30_000

/** So long the agreement must last. */
const STABLE_MS = 2_000

/** Safety: anything fails. Liveness: a core is healed and must converge. At last everything is. */
async function phases(run: Run): Promise<void> {
  const { options, cluster } = run
  const injector = new FaultInjector(cluster)
  const all = cluster.servers.map(({ number }) => number)
  const starts = cluster.kernel.random.fork('starts')
  for (const server of cluster.servers) {
    cluster.after(starts.uniform() * options.startSpreadMs, () => server.start())
  }
  WORKLOADS.get(options.workload)?.begin(run)
  injector.begin(options.faults)
  await observed(run, options.safetyMs, () => false)

  injector.end()
  phaseMark(run, `liveness: core s${options.core.join(' s')}`)
  injector.repair(options.core)
  await converge(run, options.core, 'a healed core')
  phaseMark(run, 'everything healed')
  injector.repair(all)
  // A disk may still be busy with what it was given while it was slow: what becomes durable only then is news.
  // Whoever waits for something that will not come is told so within that time.
  await converge(run, all, 'a healed mesh', () => run.openQuestions().length === 0)
  await settle(run)
  await asked(run, 'finish')
  await audited(run, (ms, done) => observed(run, ms, done))
  if (WORKLOADS.get(options.workload)?.rest !== undefined) {
    await asked(run, 'rest')
    await converge(run, all, 'a mesh at rest')
  }
  if (run.over) return
  for (const checker of run.checkers) {
    checker.observe?.()
    checker.atEnd?.()
  }
}

/** What a workload asks at last; all of it is answered. */
async function asked(run: Run, what: 'finish' | 'rest'): Promise<void> {
  const { [what]: ask, finishMs = FINISH_MS } = WORKLOADS.get(run.options.workload) ?? {}
  if (ask === undefined || run.over) return
  ask(run)
  await observed(run, finishMs, () => run.openQuestions().length === 0)
}

/**
 * Servers that have never heard of each other, neither in their configuration nor from others, cannot find each
 * other while those that would introduce them are away: each group of acquaintances converges by itself.
 */
async function converge(
  run: Run,
  servers: readonly number[],
  who: string,
  isQuiet: () => boolean = () => true,
): Promise<void> {
  let reason: string | undefined
  const acquaintances = new Acquaintances(run.options.peers)
  const agreement = new Agreement(run, WORKLOADS.get(run.options.workload)?.rest !== undefined)
  // Own writes that wait for a number show nowhere yet, so it must stay like this for a while.
  let agreedUs: number | undefined
  await observed(run, run.options.livenessMs, () => {
    meet(run, acquaintances)
    reason = acquaintances
      .groups(servers)
      .map((group) => agreement.whyNot(group))
      .find((found) => found !== undefined)
    agreedUs = reason === undefined && isQuiet() ? (agreedUs ?? run.nowUs) : undefined
    return agreedUs !== undefined && run.nowUs - agreedUs >= STABLE_MS * 1000
  })
  if (reason !== undefined) {
    run.fail('C2', `${who} has not converged within ${run.options.livenessMs} ms: ${reason}`, undefined)
  }
}

/** Nothing stays provisional for ever (W9); then all agree again. */
async function settle(run: Run): Promise<void> {
  let reason: string | undefined
  await observed(run, SETTLE_MS, () => {
    reason = run.cluster.servers.map(whyNotSettled).find((found) => found !== undefined)
    return reason === undefined
  })
  if (reason !== undefined) {
    run.fail('W9', `a healed mesh has not settled within ${SETTLE_MS} ms: ${reason}`, undefined)
    return
  }
  const all = run.cluster.servers.map(({ number }) => number)
  await converge(run, all, 'a settled mesh')
}

function whyNotSettled({ name, node }: Server<MeshNode>): string | undefined {
  for (const { withdrawal } of node === undefined ? [] : provisionalsOf(node)) {
    const { amount, id, item, replica, state, storage } = withdrawal
    if (isUndecided(state))
      return `${id} by ${replica}, ${amount} ${item} in ${storage}, is ${state} on ${name}`
  }
  return undefined
}

/** Lets time pass, with all checkers watching, until `done`, or the time is over, or a promise is broken. */
async function observed(run: Run, ms: number, done: () => boolean): Promise<void> {
  const steps = Math.ceil(ms / OBSERVE_EVERY_MS)
  for (let step = 0; step < steps && !run.over; step++) {
    await run.cluster.pass(OBSERVE_EVERY_MS)
    if (!run.over) run.observe()
    if (!run.over && done()) return
  }
}

/** Whom each server would dial now. */
function meet(run: Run, acquaintances: Acquaintances): void {
  const { names } = run.options
  for (const { number, node } of run.cluster.servers) {
    const members = node?.members() ?? []
    const numbersOf = (some: readonly MemberStatus[]) => some.map(({ serverId }) => names.indexOf(serverId))
    const left = members.filter(({ status }) => status === 'left')
    const others = members.filter(({ address }) => address !== '')
    acquaintances.met(number, numbersOf(others))
    acquaintances.parted(number, numbersOf(left))
  }
}

function phaseMark(run: Run, label: string): void {
  if (run.over) return
  const { recorder, kernel } = run.cluster
  recorder?.mark({ kind: 'phase', server: undefined, atUs: kernel.nowUs, label })
}
