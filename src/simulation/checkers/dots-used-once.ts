import { type Cell, type Delta, isCounterCell } from '../../crdt/cell.js'
import { compareCells } from '../../crdt/compare-cells.js'
import { Partition } from '../../crdt/partition.js'
import { topicKey } from '../../gossip/acknowledgements.js'
import { Replicator } from '../../gossip/replicator.js'
import type { MeshNode } from '../../node/mesh-node.js'
import { Rejoin } from '../../node/rejoin.js'
import { serverOfReplica } from '../../sync/identity.js'
import type { Run } from '../run/run.js'
import type { Checker } from './checker.js'

/** Cells remembered. */
const MAX_REMEMBERED = 200_000

/**
 * A replica never gives one number to two different writes as long as another server holds the first one (I2):
 * what nobody holds any more, in memory or on a disk, nobody can mix up. Looks at each flush that is durable, for
 * only then may its numbers leave the server.
 *
 * The product promises this to a server whose disk was put back to an earlier state as far as it can ask those
 * who know better: when some of the others stay out of reach for longer than the grace time, it goes on, and
 * numbers that only they had seen may come again. A backup is out of reach as well: put back later, it brings the
 * first writes of such numbers back. Such a run ends here without a verdict.
 */
export function dotsUsedOnce(run: Run): Checker {
  const used = new Map<string, Cell>()
  run.onRunning(({ number }, node) => run.holdings.counted(number, run.nowUs, heldBy(node)))
  run.override(Partition.prototype, 'merge', (original) => {
    return function (this: Partition, delta) {
      const outcome = original.call(this, delta)
      // During replay a partition writes as nobody yet, and takes its own writes back.
      const { self } = this as unknown as { self: object | undefined }
      const server = run.cluster.kernel.owner?.server
      if (self !== undefined && server !== undefined && outcome !== 'gap')
        run.holdings.raised(server, run.nowUs, topicKey(this.name, delta.replica), delta.to)
      if (outcome === 'applied') arrived(delta)
      return outcome
    }
  })
  /** Process → whom it has heard, with the time of the last digest; and those that ended their waiting by time. */
  const heard = new Map<string, Map<string, number>>()
  const waitedInVain = new Set<string>()
  run.override(Replicator.prototype, 'onDigest', (original) => {
    return function (this: Replicator, peer, digest) {
      const key = processKey(run)
      heard.set(key, (heard.get(key) ?? new Map()).set(peer.server, run.nowUs))
      original.call(this, peer, digest)
    }
  })
  const timed = Rejoin.prototype as unknown as { graceIsOver(): void }
  run.override(timed, 'graceIsOver', (original) => {
    return function (this: typeof timed) {
      waitedInVain.add(processKey(run))
      original.call(this)
    }
  })
  /** After the grace time, and nobody who had been heard held it then. */
  const isBeyondPromise = (writer: number, topic: string, number: number) => {
    const key = processKey(run)
    if (!waitedInVain.has(key) || !run.ledger.hasForgotten(writer)) return false
    for (const [name, atUs] of heard.get(key) ?? []) {
      if (run.holdings.at(run.options.names.indexOf(name), atUs, topic) >= number) return false
    }
    return true
  }
  const givenAgain: { readonly topic: string; readonly number: number; readonly atUs: number }[] = []
  run.onRestored((server, toUs) => {
    const back = givenAgain.find(
      ({ topic, number, atUs }) => atUs > toUs && number <= run.holdings.of(server, topic),
    )
    if (back) run.endWithout(`a backup of s${server} brings back a write whose number was given again since`)
  })
  const reused = (writer: number, topic: string, number: number) => {
    if (isBeyondPromise(writer, topic, number)) {
      run.endWithout(`s${writer} numbers again after a lost disk, with holders of its writes out of reach`)
    } else run.fail('I2', `${topic.split('\n')[1]} used number ${number} twice`, writer)
  }
  /** What was on its way while its number was given again, and held by nobody, has reached somebody after all. */
  const arrived = (delta: Delta) => {
    const topic = topicKey(delta.partition, delta.replica)
    for (const cell of delta.cells) {
      const newest = used.get(`${topic}|${cell.number}`)
      if (newest === undefined || isSame(newest, cell)) continue
      const writer = run.options.names.indexOf(serverOfReplica(delta.replica))
      reused(writer, delta.replica, cell.number)
    }
  }
  const flushed = (delta: Delta) => {
    const writer = run.cluster.kernel.owner?.server
    if (writer === undefined) return
    const topic = topicKey(delta.partition, delta.replica)
    for (const cell of delta.cells) {
      const dot = `${topic}|${cell.number}`
      const before = used.get(dot)
      if (before !== undefined && !isSame(before, cell)) {
        givenAgain.push({ topic, number: cell.number, atUs: run.nowUs })
        if (cell.number <= run.holdings.elsewhere(writer, topic)) reused(writer, topic, cell.number)
      }
      if (used.size < MAX_REMEMBERED) used.set(dot, cell)
    }
    run.holdings.raised(writer, run.nowUs, topic, delta.to)
  }
  run.override(Partition.prototype, 'completeFlush', (original) => {
    return function (this: Partition, flush) {
      for (const delta of flush.deltas) flushed(delta)
      original.call(this, flush)
    }
  })
  return { invariants: ['I2'] }
}

/** Most are counters that never granted anything: these are compared without being written out as text. */
function isSame(left: Cell, right: Cell): boolean {
  if (isCounterCell(left) && isCounterCell(right)) {
    const { deposited, withdrawn, compensated, granted } = left.value
    const other = right.value
    if (deposited !== other.deposited || withdrawn !== other.withdrawn) return false
    if (compensated !== other.compensated || granted.length !== other.granted.length) return false
    if (granted.length === 0) return true
  }
  return compareCells(left, right) === 0
}

function processKey(run: Run): string {
  const server = run.cluster.kernel.owner?.server ?? -1
  return `${server} ${run.cluster.servers[server]?.generation}`
}

function heldBy(node: MeshNode): Map<string, number> {
  return new Map(
    node
      .status()
      .partitions.flatMap(({ partition, versionVector }) =>
        Object.entries(versionVector).map(([replica, number]) => [topicKey(partition, replica), number]),
      ),
  )
}
