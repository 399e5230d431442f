import type { OwnWrite } from '../crdt/own-writes.js'
import type { ProvisionalWithdrawal } from '../crdt/provisional.js'
import type { Quantity } from '../crdt/rights.js'
import type { ItemPlace } from './effects.js'

/** Makes what is written in one batch with a withdrawal, once that is made; a refused one leaves nothing behind. */
export type Beside = () => OwnWrite

export interface WithdrawRequest extends ItemPlace {
  readonly amount: Quantity
  /** UUIDv7. Names the provisional withdrawal or the waiting one. */
  readonly id: string
  readonly mode: 'optimistic' | 'backed'
  /** Wall time, for resolvers and people; the time of the call when left out. */
  readonly madeAtMs?: number
  /** A `backed` one waits for rights until then. */
  readonly untilMs: number
  readonly beside?: Beside
}

export type WithdrawOutcome =
  | { readonly type: 'backed' }
  | { readonly type: 'provisional'; readonly withdrawal: ProvisionalWithdrawal }
  /** Effect 'withdrawn' or 'refused' follows. */
  | { readonly type: 'waiting' }
  | { readonly type: 'insufficient-quantity'; readonly visible: Quantity }
  | { readonly type: 'overloaded' }
