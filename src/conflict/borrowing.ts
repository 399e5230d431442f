import { addQuantities, subtractQuantities } from '../crdt/column.js'
import type { Partition } from '../crdt/partition.js'
import { grantedTo, lesser, type Quantity } from '../crdt/rights.js'
import type { ReplicaId } from '../sync/identity.js'
import type { BorrowAsk, EffectQueue, ItemPlace } from './effects.js'

/** A request without an answer counts as lost after this. */
export const BORROW_TIMEOUT_MS = 2_000
/**
 * A donor that gave less than asked is left alone for as long. Reserves can wait, and where all are short, asking
 * again and again would be all that happens; but a donor that gave some (half of what it could spare) has more, and
 * what it gives halves each time.
 */
const DONOR_PAUSE_MS = { debt: 500, reserve: 5_000 } as const

interface OpenAsk {
  readonly target: Quantity
  /** What the donor had granted in all when it was asked. */
  readonly before: Quantity
  readonly untilMs: number
}

/** What one item asks of others for one purpose: who was asked, for how much, until when. */
export class Borrowing {
  private readonly asked = new Map<ReplicaId, OpenAsk>()
  private readonly pausedUntilMs = new Map<ReplicaId, number>()

  constructor(
    private readonly partition: Partition,
    private readonly entry: number,
    private readonly place: ItemPlace,
    private readonly purpose: BorrowAsk['purpose'],
  ) {}

  get isIdle(): boolean {
    return this.asked.size === 0 && this.pausedUntilMs.size === 0
  }

  /** Asks the richest reachable holders for what is still missing beside what was asked before. */
  ask(need: Quantity, reachable: ReadonlySet<ReplicaId>, nowMs: number, effects: EffectQueue): void {
    let missing = subtractQuantities(need, this.underWay(nowMs))
    if (missing <= 0) return
    for (const [donor, held] of this.donors(reachable, nowMs)) {
      const amount = lesser(held, missing)
      const before = this.grantedBy(donor)
      const target = addQuantities(before, amount)
      this.asked.set(donor, { target, before, untilMs: nowMs + BORROW_TIMEOUT_MS })
      effects.ask(donor, { ...this.place, target, purpose: this.purpose })
      missing = subtractQuantities(missing, amount)
      // A reserve is a convenience: one donor at a time.
      if (missing <= 0 || this.purpose === 'reserve') return
    }
  }

  /** A donor has told what it has granted in all; when that is less than asked, others may be asked now. */
  answered(donor: ReplicaId, total: Quantity, nowMs: number): void {
    const ask = this.asked.get(donor)
    if (!ask || total >= ask.target) return
    this.asked.delete(donor)
    const purpose = total > ask.before ? 'debt' : this.purpose
    this.pausedUntilMs.set(donor, nowMs + DONOR_PAUSE_MS[purpose])
  }

  /** Forgets what has arrived or timed out. */
  expire(nowMs: number): void {
    for (const [donor, { target, untilMs }] of this.asked) {
      if (untilMs <= nowMs || this.grantedBy(donor) >= target) this.asked.delete(donor)
    }
    for (const [donor, untilMs] of this.pausedUntilMs) {
      if (untilMs <= nowMs) this.pausedUntilMs.delete(donor)
    }
  }

  private underWay(nowMs: number): Quantity {
    this.expire(nowMs)
    let sum: Quantity = 0
    for (const [donor, { target }] of this.asked) {
      sum = addQuantities(sum, subtractQuantities(target, this.grantedBy(donor)))
    }
    return sum
  }

  private donors(reachable: ReadonlySet<ReplicaId>, nowMs: number): [ReplicaId, Quantity][] {
    const self = this.partition.ownReplica.replica
    const donors = [...this.partition.rightsOf(this.entry)].filter(
      ([replica, held]) =>
        held > 0 &&
        replica !== self &&
        reachable.has(replica) &&
        !this.asked.has(replica) &&
        (this.pausedUntilMs.get(replica) ?? 0) <= nowMs,
    )
    return donors.sort(([, left], [, right]) => (left > right ? -1 : left < right ? 1 : 0))
  }

  /** The total granted to this server by a donor, as far as it has been merged here. */
  private grantedBy(donor: ReplicaId): Quantity {
    const { table } = this.partition
    const state = this.partition.replica(donor)
    const cell = state ? table.findCell(this.entry, state.index) : -1
    return cell < 0 ? 0 : grantedTo(table.counterValue(cell).granted, this.partition.ownReplica.replica)
  }
}
