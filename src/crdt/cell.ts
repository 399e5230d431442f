import type { ReplicaId } from '../sync/identity.js'
import type { WireValue } from '../wire/wire-value.js'

/**
 * A *cell* is (replica, kind, namespace, key) → value with the number of its last write. Only its replica
 * ever writes it; merging keeps the higher number. Every eventual type is made of such cells.
 */
export const CellKind = {
  /** Quantity of an item: namespace = storage id, key = canonical item key. */
  counter: 0,
  /** Shared state, last writer wins: namespace '', key = state key. */
  register: 1,
  /** A server's own description of itself: namespace '', key = server id. */
  member: 2,
  /** A published event, append-only: namespace '', key = event id. */
  event: 3,
  /** A journal record of unnumbered writes, contained in the numbered ones beside it: namespace '', key = id. */
  unnumberedRecord: 6,
  /** An operation id that has taken effect: namespace = storage id, key = operation id. */
  operation: 5,
  /** A withdrawal beyond its server's rights: namespace = storage id, key = its UUIDv7 (see provisional.ts). */
  provisional: 4,
} as const

/** Highest kind number accepted; kinds unknown to this version are kept and passed on, never dropped. */
export const MAX_CELL_KIND = 63

/**
 * A counter's monotone totals of one replica. Numbers are safe integers; beyond that they are bigints.
 * `granted` lists rights handed to other replicas: (replica, total).
 */
export interface CounterValue {
  readonly deposited: number | bigint
  readonly withdrawn: number | bigint
  readonly compensated: number | bigint
  readonly granted: readonly (readonly [ReplicaId, number | bigint])[]
}

/**
 * The value of every other kind is a tuple whose first element is the wall time in ms at which the value
 * expires, 0 for never. What follows depends on the kind and is opaque here.
 */
export type ObjectValue = readonly [expiresAtMs: number, ...rest: WireValue[]]

interface CellHead {
  readonly kind: number
  readonly number: number
  readonly namespace: string
  readonly key: string
}

export interface CounterCell extends CellHead {
  readonly kind: 0
  readonly value: CounterValue
}

export interface ObjectCell extends CellHead {
  readonly value: ObjectValue
  /**
   * Until when (wall ms, 0 for ever) the cell must be kept after its value has expired: as long as an earlier
   * value of it may live on elsewhere. Absent when that is no longer than the value itself.
   */
  readonly keepUntilMs?: number
}

export type Cell = CounterCell | ObjectCell

export function isCounterCell(cell: Cell): cell is CounterCell {
  return cell.kind === CellKind.counter
}

/**
 * Everything that one replica wrote with numbers in (from, to], less what it overwrote since. `horizon` is the
 * highest number the sender knew when it cut this: cells overwritten by writes in (to, horizon] are absent,
 * so a receiver's state is exact again only once it has reached the horizon (invariant D3).
 */
export interface Delta {
  readonly partition: string
  readonly replica: ReplicaId
  readonly from: number
  readonly to: number
  readonly horizon: number
  /** Part of a full repair: its cells are compared even when the interval is already known. */
  readonly repair: boolean
  /** In ascending order of number. */
  readonly cells: readonly Cell[]
  /** Spans of numbers written as one batch; none reaches beyond `to`. Ascending, disjoint. */
  readonly batches?: readonly BatchSpan[]
}

/**
 * Cells that were written together: whoever has one of them has all that are still current (invariant D4). A
 * cell that is overwritten later leaves its batch; what its absence means is told by `Delta.horizon`.
 */
export type BatchSpan = readonly [first: number, last: number]
