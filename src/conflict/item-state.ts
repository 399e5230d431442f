import type { OwnWrite } from '../crdt/own-writes.js'
import type { Partition } from '../crdt/partition.js'
import type { Quantity } from '../crdt/rights.js'
import { Borrowing } from './borrowing.js'
import { Demand } from './demand.js'
import type { ItemPlace } from './effects.js'

export interface Waiting {
  readonly id: string
  readonly amount: Quantity
  readonly untilMs: number
  /** Written in one batch with the withdrawal. */
  readonly beside: OwnWrite | undefined
}

/** What is under way for one item beside its cells. Nothing in it must survive a crash. */
export interface ItemState {
  readonly place: ItemPlace
  /** By purpose, so that a refused reserve does not delay a debt. */
  readonly borrowing: { readonly debt: Borrowing; readonly reserve: Borrowing }
  readonly demand: Demand
  readonly waiting: Waiting[]
  /** Since when an explained overdraw has been visible. */
  overdrawnSinceMs: number | undefined
}

export function newItemState(partition: Partition, entry: number, nowMs: number): ItemState {
  const { table } = partition
  const place = { storage: table.namespaceOf(entry).name, item: table.keyOf(entry) }
  return {
    place,
    borrowing: {
      debt: new Borrowing(partition, entry, place, 'debt'),
      reserve: new Borrowing(partition, entry, place, 'reserve'),
    },
    demand: new Demand(nowMs),
    waiting: [],
    overdrawnSinceMs: undefined,
  }
}
