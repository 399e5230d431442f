import type { Withdrawal } from '../../node/withdrawal.js'
import type { LedgerEntry } from './ledger.js'

/** How many withdrawals took which way. */
export interface WithdrawalCounts {
  backed: number
  provisional: number
  confirmed: number
  compensated: number
  kept: number
  refused: number
}

export function noWithdrawals(): WithdrawalCounts {
  return { backed: 0, provisional: 0, confirmed: 0, compensated: 0, kept: 0, refused: 0 }
}

/** An acknowledgement by the embedding server that it has taken items back. */
export interface Acknowledged {
  readonly server: number
  /** When the node said that it is durable. */
  durableUs: number | undefined
}

/** What the embedding game servers know of their withdrawals, beside the ledger. */
export class WithdrawalBook {
  readonly counts = noWithdrawals()
  /** Id → how it ended as a node has told. */
  readonly settled = new Map<
    string,
    { readonly state: string; readonly server: number; readonly atUs: number }
  >()
  /** Ids of compensations by `server generation`: what the listener of that process has heard. */
  readonly told = new Map<string, Set<string>>()
  readonly acknowledged = new Map<string, Acknowledged>()

  readonly #made = new Map<
    LedgerEntry,
    { readonly kind: Withdrawal['kind']; readonly wasOptional: boolean }
  >()
  readonly #byId = new Map<string, LedgerEntry>()

  /**
   * A node has answered with this withdrawal; again when it is asked again with the same operation id. What had not
   * become durable may have gone in a crash: then the last answer is the one that counts, and may be of another kind.
   */
  made(entry: LedgerEntry, withdrawal: Withdrawal): void {
    const { id, kind } = withdrawal
    const made = this.#made.get(entry)
    if (made !== undefined) {
      if (entry.durableUs !== undefined || entry.provisional === id) return
      this.counts[made.kind] -= 1
      entry.provisional = undefined
      entry.isOptional = made.wasOptional
    }
    this.#made.set(entry, { kind, wasOptional: entry.isOptional })
    const before = id === undefined ? undefined : this.#byId.get(id)
    if (before !== undefined && before !== entry) {
      // The attempt before a loss has come back after all: it is counted there.
      entry.void = true
      return
    }
    this.counts[kind] += 1
    if (id === undefined) return
    this.#byId.set(id, entry)
    entry.provisional = id
    entry.isOptional = true
  }
}
