import { addQuantities, subtractQuantities } from '../crdt/column.js'
import type { OwnWrite } from '../crdt/own-writes.js'
import type { Partition } from '../crdt/partition.js'
import type { ProvisionalWithdrawal } from '../crdt/provisional.js'
import { lesser, notNegative, type Quantity } from '../crdt/rights.js'
import type { ReplicaId } from '../sync/identity.js'
import { attainable, byId, visibleOverdraw } from './overdraw.js'
import type { ProvisionalIndex } from './provisional-index.js'
import type { Standing } from './standing.js'

/**
 * What this server owes for an item: as the replica that it writes as, and for the former incarnations, whose open
 * withdrawals nobody else could ever settle (invariant W6). It takes over a former debt by granting its own rights
 * to the former replica, which can write no more: what is granted there is spent at once.
 */
export class Debts {
  constructor(
    private readonly partition: Partition,
    private readonly index: ProvisionalIndex,
    private readonly standing: Standing,
  ) {}

  /** Rights that may be spent or given: none while own writes may be missing here (invariant W7). */
  spendable(entry: number): Quantity {
    const rights = this.partition.own.rights(entry)
    return this.standing.isCertain() ? rights : lesser(rights, 0)
  }

  /** Own undecided withdrawals by who made them, those that may be settled now, lowest ids first. */
  undecided(entry: number): Map<ReplicaId, ProvisionalWithdrawal[]> {
    const byMaker = new Map<ReplicaId, ProvisionalWithdrawal[]>()
    for (const withdrawal of this.index.undecided(entry)) {
      if (!this.maySettle(withdrawal)) continue
      const made = byMaker.get(withdrawal.replica)
      if (made) made.push(withdrawal)
      else byMaker.set(withdrawal.replica, [withdrawal])
    }
    for (const made of byMaker.values()) made.sort(byId)
    return byMaker
  }

  maySettle(withdrawal: ProvisionalWithdrawal): boolean {
    if (withdrawal.replica === this.self) return true
    return this.index.isOwn(withdrawal) && this.standing.knowsFormer()
  }

  /** Rights that a replica of this server lacks, grants under way to it included. */
  of(entry: number, maker: ReplicaId): Quantity {
    const { own, table } = this.partition
    if (maker === this.self) return notNegative(-own.rights(entry))
    const held = this.partition.rightsOf(entry).get(maker) ?? 0
    const underWay = subtractQuantities(own.grantedTotal(entry, maker), table.ownGrantTo(entry, maker))
    return notNegative(-addQuantities(held, underWay))
  }

  /** Rights to be borrowed: negative is a surplus. */
  missing(entry: number): Quantity {
    let missing: Quantity = -this.partition.own.rights(entry)
    for (const maker of this.undecided(entry).keys()) {
      if (maker !== this.self) missing = addQuantities(missing, this.of(entry, maker))
    }
    return missing
  }

  /** Hands rights that are here to former replicas that lack them. */
  coverFormer(entry: number): void {
    const { own } = this.partition
    for (const maker of this.undecided(entry).keys()) {
      if (maker === this.self || !own.canGrant(entry, maker)) continue
      const amount = lesser(own.rights(entry), this.of(entry, maker))
      if (amount > 0) own.grant(entry, maker, amount)
    }
  }

  /** The change of the counter that gives `amount` back to the one who lacks it; undefined: it cannot be written. */
  repay(
    entry: number,
    maker: ReplicaId,
    amount: Quantity,
    by: 'compensated' | 'deposited',
  ): OwnWrite | undefined {
    const write = { entry, [by]: amount }
    if (maker === this.self) return write
    const lacking = lesser(amount, this.of(entry, maker))
    if (lacking <= 0) return write
    return this.partition.own.canGrant(entry, maker) ? { ...write, granted: [maker, lacking] } : undefined
  }

  /** How much of the item can be had: rights that nobody can give any more are not among it. */
  attainable(entry: number): Quantity {
    const { partition, standing } = this
    return notNegative(attainable(partition.table.total(entry), partition.rightsOf(entry), standing))
  }

  /** How much more was taken than can be had, as far as that is certain (invariant W4). */
  overdraw(entry: number): Quantity {
    const undecided = this.index.undecided(entry)
    if (undecided.length === 0) return 0
    const { partition, standing } = this
    return visibleOverdraw(partition.table.total(entry), partition.rightsOf(entry), undecided, standing)
  }

  private get self(): ReplicaId {
    return this.partition.ownReplica.replica
  }
}
