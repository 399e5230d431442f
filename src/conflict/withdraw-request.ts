import type { OwnWrite } from '../crdt/own-writes.js'
import type { ProvisionalWithdrawal } from '../crdt/provisional.js'
import type { Quantity } from '../crdt/rights.js'
import type { ItemPlace } from './effects.js'

export interface WithdrawRequest extends ItemPlace {
  readonly amount: Quantity
  /** UUIDv7. Names the provisional withdrawal or the waiting one. */
  readonly id: string
  readonly mode: 'optimistic' | 'backed'
  /** Wall time, for resolvers and people; the time of the call when left out. */
  readonly madeAtMs?: number
  /** A `backed` one waits for rights until then. */
  readonly untilMs: number
  /** Written in one batch with the withdrawal, whenever that is made. */
  readonly beside?: OwnWrite
}

export type WithdrawOutcome =
  | { readonly type: 'backed' }
  | { readonly type: 'provisional'; readonly withdrawal: ProvisionalWithdrawal }
  /** Effect 'withdrawn' or 'refused' follows. */
  | { readonly type: 'waiting' }
  | { readonly type: 'insufficient-quantity'; readonly visible: Quantity }
  | { readonly type: 'overloaded' }
