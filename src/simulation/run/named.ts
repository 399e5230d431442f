import type { LedgerEntry } from './ledger.js'
import type { Place } from './options.js'

/** An operation that the ledger of its server knows by name (`by`): what its lines there have to say. */
export interface Named {
  readonly server: number
  readonly item: string
  readonly amount: bigint
  /** Of a move two. */
  readonly lines: readonly { readonly type: 'deposit' | 'withdraw'; readonly place: Place }[]
  /** How often it has been begun anew, since an earlier attempt was refused or lost. */
  readonly attempts: number
  /** What is counted for the last attempt. */
  readonly entries: readonly LedgerEntry[]
}
