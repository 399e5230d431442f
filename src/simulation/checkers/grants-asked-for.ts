import { EffectQueue } from '../../conflict/effects.js'
import { isCounterCell } from '../../crdt/cell.js'
import { Partition } from '../../crdt/partition.js'
import { serverOfReplica } from '../../sync/identity.js'
import type { Run } from '../run/run.js'
import type { Checker } from './checker.js'

/**
 * However often a request for rights arrives, in whatever order, before and after crashes: no donor has ever granted
 * more to a server than the most that it was asked for (W15). Looks at what is asked where it is asked, and at what
 * is granted in the cells that become durable.
 */
export function grantsAskedFor(run: Run): Checker {
  const most = new Map<string, bigint>()
  run.override(EffectQueue.prototype, 'ask', (original) => {
    return function (this: EffectQueue, to, ask) {
      const server = run.cluster.kernel.owner?.server
      if (server !== undefined) {
        const key = [serverOfReplica(to), run.options.names[server], ask.storage, ask.item].join('\n')
        const target = BigInt(ask.target)
        if (target > (most.get(key) ?? 0n)) most.set(key, target)
      }
      original.call(this, to, ask)
    }
  })
  run.override(Partition.prototype, 'completeFlush', (original) => {
    return function (this: Partition, flush) {
      original.call(this, flush)
      const donor = serverOfReplica(this.ownReplica.replica)
      for (const cell of flush.deltas.flatMap(({ cells }) => cells)) {
        if (!isCounterCell(cell)) continue
        for (const [receiver, granted] of cell.value.granted) {
          const asker = serverOfReplica(receiver)
          const asked = most.get([donor, asker, cell.namespace, cell.key].join('\n')) ?? 0n
          // To its own former incarnations a server grants unasked.
          if (asker === donor || granted <= asked) continue
          const detail = `${donor} has granted ${granted} ${cell.key} to ${receiver}, which asked for ${asked}`
          run.fail('W15', detail, run.cluster.kernel.owner?.server)
        }
      }
    }
  })
  return { invariants: ['W15'] }
}
