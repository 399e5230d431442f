import { addQuantities, subtractQuantities } from '../crdt/column.js'
import { notNegative, type Quantity } from '../crdt/rights.js'
import type { ReplicaId } from '../sync/identity.js'
import type { BorrowAsk, EffectQueue } from './effects.js'
import type { ItemState } from './item-state.js'

/** How much is left for another server that asks: of all rights here, or of those that nothing here waits for. */
export function spareRights(
  rights: Quantity,
  available: Quantity,
  purpose: BorrowAsk['purpose'],
  reserve: Quantity,
): Quantity {
  if (purpose === 'debt' || rights <= 0) return rights
  const spare = subtractQuantities(available, reserve)
  // Half, rounded up: the last one may go where it is wanted.
  return spare <= 0 ? 0 : half(spare)
}

/** Asks for rights ahead of the demand. */
export function fillReserve(
  rights: Quantity,
  state: ItemState,
  reachable: ReadonlySet<ReplicaId>,
  nowMs: number,
  effects: EffectQueue,
): void {
  const reserve = state.demand.reserve(nowMs)
  // A debt is asked for by itself, and is no reason to go without a reserve until the next one.
  const atHand = notNegative(rights)
  // Below half only, and donors keep their own reserve: two busy servers do not play ping-pong.
  if (addQuantities(atHand, atHand) >= reserve) return
  state.borrowing('reserve').ask(subtractQuantities(reserve, atHand), reachable, nowMs, effects)
}

function half(amount: Quantity): Quantity {
  return typeof amount === 'number' ? Math.ceil(amount / 2) : (amount + 1n) / 2n
}
