import type { ProvisionalWithdrawal } from '../crdt/provisional.js'
import type { Quantity } from '../crdt/rights.js'
import type { ReplicaId } from '../sync/identity.js'

/** Where rights are kept: an item in a storage. */
export interface ItemPlace {
  readonly storage: string
  readonly item: string
}

/**
 * One request for rights. `target` is the total ever granted by the donor to the asker that the asker would
 * like to see, so that a request repeated, reordered or answered before a crash grants once.
 */
export interface BorrowAsk extends ItemPlace {
  readonly target: Quantity
  /** A debt gets all there is; a reserve gets half of what its donor does not need itself. */
  readonly purpose: 'debt' | 'reserve'
}

/** The donor's answer: the total ever granted, which may stay below the target when it has no more. */
export interface BorrowAnswer extends ItemPlace {
  readonly purpose: BorrowAsk['purpose']
  readonly total: Quantity
}

/**
 * What the driver does for the settlement core. Effects that others rely on are carried out once the own writes
 * made before them are durable (invariant J1): a grant is journalled before it is answered, a compensation before
 * it is told.
 */
export type Effect =
  | { readonly type: 'borrow'; readonly to: ReplicaId; readonly asks: readonly BorrowAsk[] }
  | { readonly type: 'answer'; readonly to: ReplicaId; readonly answers: readonly BorrowAnswer[] }
  /** Its cell says so already; `compensated` is told again after a restart until it is acknowledged. */
  | { readonly type: 'settled'; readonly withdrawal: ProvisionalWithdrawal }
  | { readonly type: 'parked'; readonly withdrawal: ProvisionalWithdrawal }
  /** A waiting `backed` withdrawal has been made, or ended without one. */
  | { readonly type: 'withdrawn'; readonly id: string }
  | { readonly type: 'refused'; readonly id: string; readonly shortage: Shortage }

/** Why a backed withdrawal was refused: what is visible and who holds the rights. */
export interface Shortage {
  readonly quantity: Quantity
  readonly ownRights: Quantity
  readonly rights: ReadonlyMap<ReplicaId, Quantity>
}

/** Asks or answers in one effect, so that one message carries them. */
export const MAX_ASKS_PER_EFFECT = 256

/** Effects in the order in which they arose; those for one peer are put together. */
export class EffectQueue {
  private readonly effects: Effect[] = []
  private readonly asks = new Map<ReplicaId, BorrowAsk[]>()
  private readonly answers = new Map<ReplicaId, BorrowAnswer[]>()

  add(effect: Exclude<Effect, { type: 'borrow' | 'answer' }>): void {
    this.effects.push(effect)
  }

  ask(to: ReplicaId, ask: BorrowAsk): void {
    const asks = this.asks.get(to) ?? []
    this.asks.set(to, asks)
    asks.push(ask)
  }

  answer(to: ReplicaId, answer: BorrowAnswer): void {
    const answers = this.answers.get(to) ?? []
    this.answers.set(to, answers)
    answers.push(answer)
  }

  take(): Effect[] {
    const taken = this.effects.splice(0)
    for (const [to, asks] of this.asks) {
      for (const part of parts(asks)) taken.push({ type: 'borrow', to, asks: part })
    }
    for (const [to, answers] of this.answers) {
      for (const part of parts(answers)) taken.push({ type: 'answer', to, answers: part })
    }
    this.asks.clear()
    this.answers.clear()
    return taken
  }
}

function parts<Element>(all: readonly Element[]): Element[][] {
  const cut: Element[][] = []
  for (let from = 0; from < all.length; from += MAX_ASKS_PER_EFFECT) {
    cut.push(all.slice(from, from + MAX_ASKS_PER_EFFECT))
  }
  return cut
}
