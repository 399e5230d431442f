import type { Message } from './messages.js'
import type { Refusal } from './refusals.js'
import type { Entry, HardState, NodeId, Role, SnapshotMetadata } from './types.js'

/**
 * What became of a proposal that was forwarded. `accepted`: the leader appended it at (index, term); it has
 * taken effect once an entry with that index and term is applied, and never will once another term's entry is
 * applied at that index. `unknown`: it had left and may or may not take effect; retry only with the same
 * session sequence.
 */
export type ProposalOutcome =
  | { readonly requestId: string; readonly status: 'accepted'; readonly index: number; readonly term: number }
  | { readonly requestId: string; readonly status: 'refused'; readonly reason: Refusal }
  | {
      readonly requestId: string
      readonly status: 'unknown'
      readonly reason: 'leader-changed' | 'timed-out'
    }

/** `confirmed`: the state machine may answer the read once it has applied `index`. */
export type ReadOutcome =
  | { readonly requestId: string; readonly status: 'confirmed'; readonly index: number }
  | { readonly requestId: string; readonly status: 'refused'; readonly reason: Refusal }

/** A piece of the leader's snapshot for the host to keep; `last` completes it. */
export interface ReceivedChunk {
  readonly snapshot: SnapshotMetadata
  /** 0 begins a new snapshot: whatever an earlier, unfinished one left behind is to be thrown away. */
  readonly offset: number
  readonly data: Uint8Array
  readonly last: boolean
}

/**
 * The host is asked for bytes of a snapshot that it has taken; it answers with `provideSnapshotChunk`. At or
 * beyond the end it answers with no bytes and `last`.
 */
export interface SnapshotRead {
  readonly to: NodeId
  readonly snapshot: SnapshotMetadata
  readonly offset: number
  readonly maxBytes: number
}

/** How the group looks from here. */
export interface SoftState {
  readonly role: Role
  readonly term: number
  readonly leader: NodeId | undefined
}

/** One batch of work for the host; `RaftNode` says in which order to do it. */
export interface Ready {
  readonly sequence: number
  /** Only when something in it has changed. */
  readonly softState: SoftState | undefined
  /** To be made durable, when it has changed. */
  readonly hardState: HardState | undefined
  /** To be made durable; replaces whatever the disk holds from the first one's index on. */
  readonly entries: readonly Entry[]
  /** To be made durable, in order. */
  readonly chunks: readonly ReceivedChunk[]
  /** False when only the commit index has changed: losing that in a crash costs nothing. */
  readonly mustSync: boolean
  /** May leave at once. */
  readonly messages: readonly Message[]
  /** May leave only when this batch and all before it are durable. */
  readonly messagesAfterPersist: readonly Message[]
  /** Durable here and committed: to be applied, in order. */
  readonly committed: readonly Entry[]
  readonly readOutcomes: readonly ReadOutcome[]
  readonly proposalOutcomes: readonly ProposalOutcome[]
  readonly snapshotReads: readonly SnapshotRead[]
}
