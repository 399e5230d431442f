import { addQuantities, subtractQuantities } from '../crdt/column.js'
import type { Generation } from '../crdt/own-writes.js'
import type { Partition } from '../crdt/partition.js'
import { counterContribution, grantedTo, type Quantity } from '../crdt/rights.js'

/** Where the items of one kind in one storage went, as one server has it at one moment. */
export interface ItemSums {
  readonly partition: string
  readonly storage: string
  readonly item: string
  /** Sums over the durable cells of all servers. */
  readonly deposited: bigint
  readonly withdrawn: bigint
  readonly compensated: bigint
  /** What own writes on their way to the journal add, or take when negative. */
  readonly underWay: bigint
  /** Withdrawals of any server that are not settled, as far as seen here. */
  readonly provisional: bigint
  /** Rights of all servers, own writes under way included. */
  readonly rights: bigint
  /** The true sum of items, which may be negative while news is missing. */
  readonly quantity: bigint
}

/** What the books of a partition are kept with, besides its cells. */
export interface AuditSources {
  readonly partitions: ReadonlyMap<string, Partition>
  /** Own writes that wait for a number outside of the partition. */
  readonly unnumbered: (partition: Partition) => readonly Generation[]
  /** The amounts of an item's undecided withdrawals. */
  readonly provisional: (partition: Partition, entry: number) => Quantity
}

/**
 * - 'fits': deposited − withdrawn + compensated + under way = quantity = sum of rights, not negative unless
 *   provisional withdrawals explain it.
 * - 'overdrawn': it adds up to less than nothing, and nobody answers for it. News may be missing; when there is
 *   none, it is a defect.
 * - 'wrong': it does not add up. That is a defect at any moment.
 */
export type ItemVerdict = 'fits' | 'overdrawn' | 'wrong'

export function judgeItem(sums: ItemSums): ItemVerdict {
  const { deposited, withdrawn, compensated, underWay, provisional, rights, quantity } = sums
  if (deposited - withdrawn + compensated + underWay !== quantity || rights !== quantity) return 'wrong'
  return quantity + provisional >= 0n ? 'fits' : 'overdrawn'
}

/** Looks at items one by one. Good for one turn of the event loop: own writes made later are not known to it. */
export class ItemAuditor {
  private changes: Map<number, Quantity> | undefined

  constructor(
    private readonly sources: AuditSources,
    private readonly partition: Partition,
  ) {}

  /** The quick form of `judgeItem` for what nearly all items are: nothing under way, nothing owed. */
  fitsPlainly(entry: number): boolean {
    const { table, own } = this.partition
    const total = table.total(entry)
    if (total < 0) return false
    let sum: Quantity = 0
    for (const cell of table.cellsOf(entry))
      sum = addQuantities(sum, counterContribution(table.counterValue(cell)))
    return sum === total && addQuantities(this.rights(entry), own.grantsUnderWay(entry)) === total
  }

  look(entry: number): ItemSums {
    const { partition, sources } = this
    const { table, own } = partition
    let deposited: Quantity = 0
    let withdrawn: Quantity = 0
    let compensated: Quantity = 0
    for (const cell of table.cellsOf(entry)) {
      const value = table.counterValue(cell)
      deposited = addQuantities(deposited, value.deposited)
      withdrawn = addQuantities(withdrawn, value.withdrawn)
      compensated = addQuantities(compensated, value.compensated)
    }
    return {
      partition: partition.name,
      storage: table.namespaceOf(entry).name,
      item: table.keyOf(entry),
      deposited: BigInt(deposited),
      withdrawn: BigInt(withdrawn),
      compensated: BigInt(compensated),
      underWay: BigInt(this.underWay(entry)),
      provisional: BigInt(sources.provisional(partition, entry)),
      rights: BigInt(this.rights(entry)) + BigInt(own.grantsUnderWay(entry)),
      quantity: BigInt(table.total(entry)),
    }
  }

  /** Of all replicas: the own ones as they are kept, those of the others from their cells. */
  private rights(entry: number): Quantity {
    const { table, own } = this.partition
    const self = this.partition.ownReplica
    let sum = own.rights(entry)
    for (const cell of table.cellsOf(entry)) {
      const value = table.counterValue(cell)
      const isOwn = table.replicaOf(cell) === self.index
      if (!isOwn) {
        sum = addQuantities(sum, counterContribution(value))
        // Among others a grant moves rights, to this server it takes them away there.
        if (value.granted.length > 0) sum = subtractQuantities(sum, grantedTo(value.granted, self.replica))
        continue
      }
      for (const [receiver, amount] of value.granted)
        if (receiver !== self.replica) sum = addQuantities(sum, amount)
    }
    return sum
  }

  private underWay(entry: number): Quantity {
    this.changes ??= this.collectChanges()
    return this.changes.get(entry) ?? 0
  }

  private collectChanges(): Map<number, Quantity> {
    const { partition, sources } = this
    const changes = new Map<number, Quantity>()
    for (const generation of [...partition.generationsUnderWay(), ...sources.unnumbered(partition)]) {
      for (const { entry, deposited, withdrawn, compensated } of generation) {
        const change = subtractQuantities(addQuantities(deposited, compensated), withdrawn)
        if (change !== 0) changes.set(entry, addQuantities(changes.get(entry) ?? 0, change))
      }
    }
    return changes
  }
}
