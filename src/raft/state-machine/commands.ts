/** What a transaction may ask of a key before it decides. A missing key has version and revisions 0. */
export type Comparison =
  | { readonly key: string; readonly target: 'exists'; readonly exists: boolean }
  | {
      readonly key: string
      readonly target: 'version' | 'create-revision' | 'mod-revision' | 'lease'
      readonly operator: NumberOperator
      readonly operand: number
    }
  /** A missing key equals no value. */
  | {
      readonly key: string
      readonly target: 'value'
      readonly operator: '=' | '!='
      readonly operand: Uint8Array
    }

type NumberOperator = '=' | '!=' | '<' | '>'

export type Operation =
  /** `lease` 0: none. The key goes when the lease ends. */
  | { readonly kind: 'put'; readonly key: string; readonly value: Uint8Array; readonly lease: number }
  | { readonly kind: 'delete'; readonly key: string }
  | { readonly kind: 'delete-prefix'; readonly prefix: string }
  /** From `from` up to but without `to`, in the order of UTF-16 units. */
  | { readonly kind: 'delete-range'; readonly from: string; readonly to: string }

/** If every comparison holds, `success` happens as one revision, else `failure` does (etcd's shape). */
export interface Transaction {
  readonly kind: 'transact'
  readonly comparisons: readonly Comparison[]
  readonly success: readonly Operation[]
  readonly failure: readonly Operation[]
}

export type Command =
  | Transaction
  /** A client's place in the table that makes retries take effect once; its id is the entry's index. */
  | { readonly kind: 'open-session'; readonly name: string }
  | { readonly kind: 'close-session'; readonly session: number }
  /** A lease's id is the index of the entry that granted it. */
  | { readonly kind: 'grant-lease'; readonly ttlMs: number }
  | { readonly kind: 'keep-alive'; readonly lease: number }
  | { readonly kind: 'revoke-lease'; readonly lease: number }
  /**
   * The leader's clock found these leases overdue. Each names how often it had been renewed then, so that a
   * renewal that is ahead in the log saves it. No member ever looks at a clock to apply this.
   */
  | { readonly kind: 'expire-leases'; readonly expiries: readonly Expiry[] }

export interface Expiry {
  readonly lease: number
  readonly renewals: number
}

/** A command with what makes a retry of it take effect once (Raft thesis 6.3). */
export interface Request {
  /** Id from `open-session`, or 0: then a retry happens again. */
  readonly session: number
  /** Counted by the client from 1; the same for every retry. */
  readonly sequence: number
  /** Lowest sequence whose result the client still waits for; results below it are forgotten. */
  readonly oldestPending: number
  readonly command: Command
}

/** A request of no session: for commands that may safely happen twice. */
export function withoutSession(command: Command): Request {
  return { session: 0, sequence: 0, oldestPending: 0, command }
}
