import type { MembershipChange } from './configuration.js'
import type { Refusal } from './refusals.js'
import type { Entry, NodeId, SnapshotMetadata } from './types.js'

/**
 * Everything that members say to each other. `term` is the sender's, except in a `pre-vote` and its grant,
 * where it is the term that the candidate would take; the five request messages at the end carry 0, since
 * what they say does not depend on a term.
 */
export type Message =
  | PreVote
  | PreVoteResponse
  | Vote
  | VoteResponse
  | Append
  | AppendResponse
  | Heartbeat
  | CommitNews
  | HeartbeatResponse
  | SnapshotChunk
  | SnapshotResponse
  | TimeoutNow
  | Propose
  | ProposeResponse
  | ReadRequest
  | ReadResponse
  | TransferRequest

export type MessageType = Message['type']

interface Envelope {
  readonly from: NodeId
  readonly to: NodeId
  readonly term: number
}

export interface PreVote extends Envelope {
  readonly type: 'pre-vote'
  readonly lastIndex: number
  readonly lastTerm: number
}

export interface PreVoteResponse extends Envelope {
  readonly type: 'pre-vote-response'
  readonly granted: boolean
}

export interface Vote extends Envelope {
  readonly type: 'vote'
  readonly lastIndex: number
  readonly lastTerm: number
  /** The leader itself asked for this election, so the voter's loyalty to it does not count. */
  readonly transfer: boolean
}

export interface VoteResponse extends Envelope {
  readonly type: 'vote-response'
  readonly granted: boolean
}

export interface Append extends Envelope {
  readonly type: 'append'
  readonly previousIndex: number
  readonly previousTerm: number
  /** Contiguous from `previousIndex + 1`. */
  readonly entries: readonly Entry[]
  readonly commit: number
}

export interface AppendResponse extends Envelope {
  readonly type: 'append-response'
  readonly rejected: boolean
  /** Durable up to here; or, when rejected, the `previousIndex` that did not match. */
  readonly index: number
  /** When rejected: where the logs may agree. */
  readonly hintIndex: number
  readonly hintTerm: number
}

export interface Heartbeat extends Envelope {
  readonly type: 'heartbeat'
  /** Never beyond what the receiver is known to hold. */
  readonly commit: number
  /** The leader's latest read round, to be echoed. */
  readonly readSequence: number
}

/** What is committed, sent when no append is due that would say so. Nobody answers: a heartbeat says it again. */
export interface CommitNews extends Envelope {
  readonly type: 'commit'
  /** Never beyond what the receiver is known to hold. */
  readonly commit: number
}

export interface HeartbeatResponse extends Envelope {
  readonly type: 'heartbeat-response'
  readonly readSequence: number
}

export interface SnapshotChunk extends Envelope {
  readonly type: 'snapshot'
  readonly snapshot: SnapshotMetadata
  /** Byte position of `data` in the snapshot. */
  readonly offset: number
  readonly data: Uint8Array
  readonly last: boolean
}

export interface SnapshotResponse extends Envelope {
  readonly type: 'snapshot-response'
  readonly snapshotIndex: number
  /** The chunk was not the one that is needed next; the transfer goes on at `nextOffset`. */
  readonly rejected: boolean
  readonly nextOffset: number
}

/** Stand for election at once, without pre-vote (leadership transfer, thesis 3.10). */
interface TimeoutNow extends Envelope {
  readonly type: 'timeout-now'
}

export type Proposal =
  | { readonly kind: 'command'; readonly data: Uint8Array }
  | { readonly kind: 'change'; readonly change: MembershipChange }

/** All that a member has proposed since it last sent something, in order. */
export interface Propose extends Envelope {
  readonly type: 'propose'
  /** Of the first of them; see `batchedId`. */
  readonly requestId: string
  readonly proposals: readonly Proposal[]
}

export type ProposalAnswer =
  | { readonly status: 'accepted'; readonly index: number; readonly term: number }
  | { readonly status: 'refused'; readonly reason: Refusal }

export interface ProposeResponse extends Envelope {
  readonly type: 'propose-response'
  readonly requestId: string
  /** One for each of the proposals, in their order. */
  readonly answers: readonly ProposalAnswer[]
}

export interface ReadRequest extends Envelope {
  readonly type: 'read'
  readonly requestId: string
}

export type ReadAnswer =
  | { readonly status: 'confirmed'; readonly index: number }
  | { readonly status: 'refused'; readonly reason: Refusal }

export interface ReadResponse extends Envelope {
  readonly type: 'read-response'
  readonly requestId: string
  readonly answer: ReadAnswer
}

export interface TransferRequest extends Envelope {
  readonly type: 'transfer'
  readonly target: NodeId
}

/** Longest request id that a peer may use. */
export const MAX_REQUEST_ID_LENGTH = 64

/** What is said regardless of terms. */
const TERMLESS: ReadonlySet<MessageType> = new Set<MessageType>([
  'propose',
  'propose-response',
  'read',
  'read-response',
  'transfer',
])

export function isTermless(type: MessageType): boolean {
  return TERMLESS.has(type)
}

/**
 * What vouches for something on disk: a vote, an acknowledged entry, a candidacy in a new term. A leader's
 * appends may leave before its own write is done, since it does not count itself before (thesis 10.2.1).
 */
const AFTER_PERSIST: ReadonlySet<MessageType> = new Set<MessageType>([
  'vote',
  'vote-response',
  'append-response',
  'snapshot-response',
])

export function waitsForDisk(type: MessageType): boolean {
  return AFTER_PERSIST.has(type)
}

type WithoutEnvelope<M> = M extends Message ? Omit<M, 'from' | 'term'> & { readonly term?: number } : never

/** A message before the core has signed it; `term` defaults to the core's own. */
export type Draft = WithoutEnvelope<Message>
