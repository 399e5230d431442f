import { OBSERVE_EVERY_MS } from '../checkers/checker.js'
import { vectorKey } from '../checkers/equal-vectors.js'
import { FaultInjector } from '../faults/injector.js'
import type { Mutant } from '../mutants/mutant.js'
import type { RecordedTrace } from '../trace/recorder.js'
import { WORKLOADS } from '../workloads/all.js'
import type { RunOptions } from './options.js'
import { Run, textOf } from './run.js'
import type { Violation } from './violation.js'

export interface RunResult {
  readonly options: RunOptions
  readonly violation: Violation | undefined
  readonly traceHash: string
  readonly events: number
  readonly virtualMs: number
  readonly operations: number
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
  const onRejection = (reason: unknown) => run.fail('N1', `unhandled rejection: ${textOf(reason)}`, undefined)
  process.on('unhandledRejection', onRejection)
  run.atCleanUp(() => process.off('unhandledRejection', onRejection))
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
    traceHash: kernel.hash.digest(),
    events: kernel.executed,
    virtualMs: kernel.nowUs / 1000,
    operations: run.ledger.entries.length,
    trace: recorder?.trace(),
  }
}

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
  await converge(run, all, 'a healed mesh')
  if (run.violation !== undefined) return
  for (const checker of run.checkers) {
    checker.observe?.()
    checker.atEnd?.()
  }
}

async function converge(run: Run, servers: readonly number[], who: string): Promise<void> {
  let reason: string | undefined
  await observed(run, run.options.livenessMs, () => {
    reason = whyNotConverged(run, servers)
    return reason === undefined
  })
  if (reason !== undefined) {
    run.fail('C2', `${who} has not converged within ${run.options.livenessMs} ms: ${reason}`, undefined)
  }
}

/** Lets time pass, with all checkers watching, until `done`, or the time is over, or a promise is broken. */
async function observed(run: Run, ms: number, done: () => boolean): Promise<void> {
  const steps = Math.ceil(ms / OBSERVE_EVERY_MS)
  for (let step = 0; step < steps && run.violation === undefined; step++) {
    await run.cluster.pass(OBSERVE_EVERY_MS)
    if (run.violation === undefined) run.observe()
    if (run.violation === undefined && done()) return
  }
}

/** Undefined when all run, nothing waits, and all agree on every partition that they share. */
function whyNotConverged(run: Run, servers: readonly number[]): string | undefined {
  const states = new Map<string, { key: string; server: string }>()
  for (const number of servers) {
    const server = run.cluster.servers[number]!
    if (server.node === undefined) return `${server.name} is ${server.state}`
    const status = server.node.status()
    if (status.journal !== 'ok') return `the journal of ${server.name} is ${status.journal}`
    if (status.numberingHeld) return `${server.name} still waits for its peers before it numbers writes`
    for (const partition of status.partitions) {
      if (!partition.settled) return `${server.name} has not settled`
      const key = `${vectorKey(partition)} ${partition.checksum}`
      const other = states.get(partition.partition)
      if (other === undefined) states.set(partition.partition, { key, server: server.name })
      else if (other.key !== key) return `${other.server} and ${server.name} differ: ${other.key} / ${key}`
    }
  }
  const open = run.openQuestions().find((question) => servers.includes(question.server))
  return open === undefined ? undefined : `${open.what} on s${open.server} has no outcome`
}

function phaseMark(run: Run, label: string): void {
  const { recorder, kernel } = run.cluster
  recorder?.mark({ kind: 'phase', server: undefined, atUs: kernel.nowUs, label })
}
