import { CellKind } from '../../crdt/cell.js'
import type { Partition } from '../../crdt/partition.js'
import { type MoverPorts, type Route, TransferRun } from '../../mover/transfer-run.js'
import type { MeshNode } from '../../node/mesh-node.js'
import { SHARED_PARTITION } from '../../node/partitions.js'
import { coreOf } from '../core-of.js'
import type { Run } from '../run/run.js'
import { naiveRights } from '../withdrawals/naive-rights.js'
import type { Checker } from './checker.js'

/** As it is, where `Storage.quantity` shows what is below zero as none. */
function sharedPartition(node: MeshNode): Partition {
  return coreOf(node).partition(SHARED_PARTITION)!
}

/** The part of a running transfer that is looked at. */
interface Moving {
  readonly ports: MoverPorts
  readonly route: Route
  move(from: number, item: string, amount: number): void
}

/** Transfers neither lose nor make items, and never move what they have no right to (T1). */
export function transfersKept(run: Run): Checker {
  const moving = TransferRun.prototype as unknown as Moving
  run.override(moving, 'move', (original) => {
    return function (this: Moving, from, item, amount) {
      original.call(this, from, item, amount)
      const { partition } = this.ports
      const left = naiveRights(partition, this.route.source, item).get(partition.ownReplica.replica) ?? 0n
      if (left >= 0n) return
      const server = run.cluster.kernel.owner?.server
      run.fail('T1', `s${server} moved ${amount} ${item}, ${-left} of them without the rights`, server)
    }
  })
  return {
    invariants: ['T1'],
    atEnd() {
      if (run.transfers.storages.size === 0) return
      const bounds = run.transfers.bounds()
      for (const server of run.cluster.servers) {
        if (server.node === undefined) continue
        const partition = sharedPartition(server.node)
        const { table } = partition
        const found = new Map<string, bigint>()
        for (const storage of run.transfers.storages) {
          for (const [item, entry] of table.findNamespace(CellKind.counter, storage)?.entries ?? []) {
            const quantity = BigInt(table.total(entry))
            // Nobody else takes more than it has the rights to here: a transfer has.
            for (const [replica, rights] of partition.rightsOf(entry)) {
              if (rights >= 0) continue
              const what = `${rights} ${item} in ${storage}`
              run.fail('T1', `${replica} has rights to ${what}, as ${server.name} sees it`, server.number)
            }
            found.set(item, (found.get(item) ?? 0n) + quantity)
          }
        }
        for (const [item, { least, most }] of bounds) {
          const sum = found.get(item) ?? 0n
          if (sum >= least && sum <= most) continue
          const allowed = `what was put in and taken out allows ${least} to ${most}`
          run.fail('T1', `${server.name} shows ${sum} ${item} in all storages; ${allowed}`, server.number)
        }
      }
    },
  }
}
