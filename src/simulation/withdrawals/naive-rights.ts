import { CellKind } from '../../crdt/cell.js'
import type { Partition } from '../../crdt/partition.js'

/** Rights of everybody to a kind of item, counted anew from the cells, own writes under way included. */
export function naiveRights(partition: Partition, storage: string, item: string): Map<string, bigint> {
  const { table, own } = partition
  const rights = new Map<string, bigint>()
  const add = (holder: string, amount: bigint) => rights.set(holder, (rights.get(holder) ?? 0n) + amount)
  const entry = table.findNamespace(CellKind.counter, storage)?.entries.get(item)
  if (entry === undefined) return rights
  const self = partition.ownReplica.replica
  for (const cell of table.cellsOf(entry)) {
    const replica = partition.replicaAt(table.replicaOf(cell))
    const { deposited, withdrawn, compensated, granted } = table.counterValue(cell)
    add(replica, BigInt(deposited) - BigInt(withdrawn) + BigInt(compensated))
    for (const [receiver, amount] of granted) {
      if (receiver === replica) continue
      add(replica, -BigInt(amount))
      add(receiver, BigInt(amount))
    }
  }
  // Own writes under way count here at once; grants among them have reached nobody.
  const underWay = BigInt(own.rights(entry)) - (rights.get(self) ?? 0n)
  for (const { replica } of partition.replicas()) {
    const grant = BigInt(own.grantedTotal(entry, replica)) - BigInt(table.ownGrantTo(entry, replica))
    if (replica === self || grant === 0n) continue
    add(replica, grant)
  }
  add(self, underWay)
  return rights
}
