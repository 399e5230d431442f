import type { Comparison, Operation } from '../raft/state-machine/commands.js'
import type { KeyEvent, KeyValue } from '../raft/state-machine/key-value-store.js'

export interface StrongOptions {
  /** How long to try; default `DEFAULT_STRONG_TIMEOUT_MS`. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export const DEFAULT_STRONG_TIMEOUT_MS = 5_000

/** If every comparison holds, `success` happens as one revision, else `failure` does. */
export interface StrongTransaction {
  readonly comparisons?: readonly Comparison[]
  readonly success: readonly Operation[]
  readonly failure?: readonly Operation[]
}

export interface TransactionResult {
  readonly succeeded: boolean
  /** Position of the first comparison that did not hold, or -1. */
  readonly failedComparison: number
  /** Of the store after it: larger than that of every earlier put, hence a fencing token. */
  readonly revision: number
  readonly deleted: number
}

/** What a watcher gets: events of one or more revisions, or word that it missed some and must read anew. */
export type StrongChange =
  | { readonly kind: 'events'; readonly events: readonly KeyEvent[]; readonly revision: number }
  | { readonly kind: 'reset'; readonly revision: number }

export interface ListPart {
  readonly after?: string
  readonly limit?: number
}

/**
 * The mesh's strongly consistent key/value store (one Raft group), as code on one server sees it.
 *
 * Writes take effect once, on all servers in one order. They throw
 *  - NoQuorumError: not done, certainly (no leader or majority within the timeout);
 *  - OutcomeUnknownError: sent, but what became of it is not known;
 *  - OverloadedError: too much under way here; AbortedError: the signal fired (then the outcome is unknown);
 *  - NotRunningError: the node is stopping.
 * Reads are local and may be behind; `barrier` first makes them linearizable.
 */
export interface StrongStore {
  /** This server's replica id, the name under which it takes part. */
  readonly replica: string
  /** Revision that local reads reflect. */
  readonly revision: number
  get(key: string): KeyValue | undefined
  /** Keys with the prefix, in order: all of them, or a part of at most `limit` after the key `after`. */
  list(prefix: string, part?: ListPart): KeyValue[]
  /**
   * Resolves when everything that any server was told is done before this call is visible to local reads.
   * @throws NoQuorumError, AbortedError, NotRunningError
   */
  barrier(options?: StrongOptions): Promise<void>
  transact(transaction: StrongTransaction, options?: StrongOptions): Promise<TransactionResult>
  /** Resolves with the lease's id. It ends when not renewed for `ttlMs`, and its keys go with it. */
  grantLease(ttlMs: number, options?: StrongOptions): Promise<number>
  /** Resolves true when renewed, false when the lease has ended. */
  renewLease(lease: number, options?: StrongOptions): Promise<boolean>
  revokeLease(lease: number, options?: StrongOptions): Promise<void>
  /**
   * Calls back after each applied change to keys with the prefix, from now on, in order, on a turn of its own.
   * The listener must not throw. Returns the function that ends it.
   */
  watch(prefix: string, listener: (change: StrongChange) => void): () => void
}
