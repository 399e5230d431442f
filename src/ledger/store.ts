import type { LedgerEntry, LedgerFilter } from './entry.js'

/** Goes over what a ledger holds, from old to new. */
export interface LedgerCursor {
  /** The next entries, at most a block of them; undefined when there are no more yet. */
  next(): Promise<readonly LedgerEntry[] | undefined>
}

/** Where a ledger keeps its entries. One `append` at a time. */
export interface LedgerStore {
  /** @throws DiskFullError, DiskError: then none of them is kept. */
  append(entries: readonly LedgerEntry[], options: { readonly durable: boolean }): Promise<void>
  /** What has been appended survives a power cut. @throws DiskError */
  sync(): Promise<void>
  /** From the oldest entry on. */
  oldest(): LedgerCursor
  /** The last `limit` entries that pass, oldest first, and a cursor that stands behind the last one of all. */
  newest(
    limit: number,
    filter: LedgerFilter,
  ): Promise<{ readonly entries: readonly LedgerEntry[]; readonly cursor: LedgerCursor }>
  /** Marks a proper end. */
  close(): Promise<void>
}
