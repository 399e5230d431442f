import type { Partition } from '../crdt/partition.js'
import type { Quantity } from '../crdt/rights.js'
import { Borrowing } from './borrowing.js'
import { Demand } from './demand.js'
import type { BorrowAsk, ItemPlace } from './effects.js'
import type { Beside } from './withdraw-request.js'

export interface Waiting {
  readonly id: string
  readonly amount: Quantity
  readonly untilMs: number
  readonly beside: Beside | undefined
}

/** What is under way for one item beside its cells. Nothing in it must survive a crash. */
export class ItemState {
  readonly demand: Demand
  readonly waiting: Waiting[] = []
  /** Since when an explained overdraw has been visible. */
  overdrawnSinceMs: number | undefined
  /** By purpose, so that a refused reserve does not delay a debt. Most items never borrow. */
  private debt: Borrowing | undefined
  private reserve: Borrowing | undefined

  constructor(
    private readonly partition: Partition,
    private readonly entry: number,
    nowMs: number,
  ) {
    this.demand = new Demand(nowMs)
  }

  get place(): ItemPlace {
    const { table } = this.partition
    return { storage: table.namespaceOf(this.entry).name, item: table.keyOf(this.entry) }
  }

  borrowing(purpose: BorrowAsk['purpose']): Borrowing {
    this[purpose] ??= new Borrowing(this.partition, this.entry, this.place, purpose)
    return this[purpose]
  }

  /** Forgets requests that have been answered or have timed out. */
  expire(nowMs: number): void {
    this.debt?.expire(nowMs)
    this.reserve?.expire(nowMs)
  }

  /** Nothing is under way, and little enough is wanted. */
  isIdle(nowMs: number): boolean {
    const isBorrowing = this.debt?.isIdle === false || this.reserve?.isIdle === false
    if (isBorrowing || this.waiting.length > 0 || this.overdrawnSinceMs !== undefined) return false
    return this.demand.isIdle(nowMs)
  }
}
