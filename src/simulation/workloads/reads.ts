import { SILENT_LINK_MS } from '../../link/open-link.js'
import type { MeshNode } from '../../node/mesh-node.js'
import type { ReadLevel } from '../../sync/consistency.js'
import type { Server } from '../cluster/server.js'
import type { SeededRandom } from '../kernel/random.js'
import { type Run, textOf } from '../run/run.js'
import { hasCode } from './counters.js'
import type { Workload } from './workload.js'

const STORAGE = 'read'
const ITEMS = ['sim:read_0', 'sim:read_1']
const TIMEOUT_MS = 3_000
/** A link that has died silently is found out within the first part of it, and there is another one soon. */
const FINAL_TIMEOUT_MS = SILENT_LINK_MS + 15_000
const REFUSALS = new Set(['NOT_RUNNING', 'DISK_FULL', 'JOURNAL_FAILED', 'OVERLOADED'])
const WRITE_UNKNOWNS = new Set([...REFUSALS, 'LEVEL_NOT_REACHED'])
const READ_REFUSALS = new Set(['NOT_RUNNING', 'OVERLOADED', 'READ_LEVEL_NOT_REACHED'])

/** By item: what was acknowledged at QUORUM, by servers that knew all others. */
type Acknowledged = Map<string, bigint>

const accounts = new WeakMap<Run, Acknowledged>()

/** Deposits that wait for QUORUM, and reads at QUORUM that must see all that was acknowledged before they began (L1). */
export const reads: Workload = {
  name: 'reads',
  begin(run) {
    const random = run.cluster.kernel.random.fork('workload-reads')
    accounts.set(run, new Map(ITEMS.map((item) => [item, 0n])))
    const { operationsPerSecond, safetyMs } = run.options
    const count = Math.ceil((operationsPerSecond * safetyMs) / 1000)
    for (let number = 0; number < count; number++) {
      const draw = random.fork(number)
      run.cluster.after(draw.uniform() * safetyMs, () => operate(run, draw))
    }
    run.plannedEvents += count
  },
  /** In a healed mesh every read comes about. */
  finish(run) {
    for (const server of run.cluster.servers) {
      run.cluster.within(server, (node) => {
        for (const level of ['QUORUM', 'STRONG'] as const)
          read(run, server, node, ITEMS[0]!, level, FINAL_TIMEOUT_MS)
      })
    }
  },
}

function operate(run: Run, draw: SeededRandom): void {
  const server = draw.pick(run.cluster.servers)
  const item = draw.pick(ITEMS)
  run.cluster.within(server, (node) => {
    if (draw.chance(0.5)) read(run, server, node, item, 'QUORUM', TIMEOUT_MS)
    else write(run, server, node, item, BigInt(draw.integer(1, 9)))
  })
}

/** Whether a majority of those that it knows is a majority of all. */
function knowsAll(run: Run, node: MeshNode): boolean {
  return node.members().filter(({ status }) => status !== 'left').length === run.options.names.length
}

function write(run: Run, server: Server<MeshNode>, node: MeshNode, item: string, amount: bigint): void {
  const name = `deposit ${amount} ${item}`
  let receipt: ReturnType<ReturnType<MeshNode['storage']>['deposit']>
  try {
    receipt = node.storage(STORAGE).deposit(item, amount)
  } catch (error) {
    if (!hasCode(error, REFUSALS)) run.fail('O2', `${name}: ${textOf(error)}`, server.number)
    return
  }
  const knew = knowsAll(run, node)
  run.cluster.recorder?.mark({ kind: 'operation', server: server.number, atUs: run.nowUs, label: name })
  run.ask(server, `${name}: QUORUM`, receipt.reached('QUORUM', { timeoutMs: TIMEOUT_MS }), (error) => {
    if (error !== undefined) {
      if (!hasCode(error, WRITE_UNKNOWNS)) run.fail('O2', `${name}: ${textOf(error)}`, server.number)
      return
    }
    const account = accounts.get(run)!
    if (knew) account.set(item, account.get(item)! + amount)
  })
}

function read(
  run: Run,
  server: Server<MeshNode>,
  node: MeshNode,
  item: string,
  level: ReadLevel,
  timeoutMs: number,
): void {
  const name = `read ${item} at ${level}`
  const isFinal = timeoutMs === FINAL_TIMEOUT_MS
  const least = knowsAll(run, node) ? accounts.get(run)!.get(item)! : 0n
  const promise = node
    .storage(STORAGE)
    .read(item, { level, timeoutMs })
    .then((found) => {
      if (found < least)
        run.fail('L1', `${name} on ${server.name}: ${found}, acknowledged before: ${least}`, server.number)
    })
  run.ask(server, name, promise, (error) => {
    if (error !== undefined && (isFinal || !hasCode(error, READ_REFUSALS)))
      run.fail('O2', `${name} on ${server.name}: ${textOf(error)}`, server.number)
  })
}
