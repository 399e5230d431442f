import { assertInvariant } from '../sync/errors.js'
import { ConfigurationHistory } from './configuration.js'
import { RAFT_INVARIANTS } from './invariants.js'
import { RaftLog } from './log.js'
import { type Draft, isTermless, type Message, type Proposal, waitsForDisk } from './messages.js'
import type { Mutations } from './mutations.js'
import type { RaftOptions } from './options.js'
import { PendingRequests } from './pending-requests.js'
import { Progress } from './progress.js'
import { ReadQueue } from './read-queue.js'
import type { ProposalOutcome, ReadOutcome, ReceivedChunk, SnapshotRead } from './ready.js'
import {
  type Entry,
  type EntryBody,
  entryOf,
  type HardState,
  type NodeId,
  type Role,
  type SnapshotMetadata,
} from './types.js'

/** What the disk gave back at the start; see `founding` and `joining` in raft-node.ts for a first start. */
export interface RestoredState {
  readonly hardState: HardState
  /** Latest complete snapshot; the state machine has been restored from it. */
  readonly snapshot: SnapshotMetadata
  /** Contiguous; those up to the snapshot's index are dropped. */
  readonly entries: readonly Entry[]
}

export interface CoreInput {
  readonly id: NodeId
  readonly options: RaftOptions
  /** Uniform in [0, 1). The core's only source of chance. */
  readonly random: () => number
  readonly restored: RestoredState
  readonly mutations: Mutations
}

/** A snapshot that arrives from a leader, of which only the position is kept here. */
export interface IncomingSnapshot {
  readonly from: NodeId
  readonly term: number
  readonly snapshot: SnapshotMetadata
  nextOffset: number
}

/** The message with this member's latest proposals, while it can still take one more. */
interface ProposalBatch {
  readonly to: NodeId
  readonly requestId: string
  readonly proposals: Proposal[]
  bytes: number
}

/** What the core wants done, until the next `Ready` takes it. */
export class Outbox {
  /** Among `messages`. */
  proposals: ProposalBatch | undefined
  messages: Message[] = []
  messagesAfterPersist: Message[] = []
  chunks: ReceivedChunk[] = []
  snapshotReads: SnapshotRead[] = []
  readOutcomes: ReadOutcome[] = []
  proposalOutcomes: ProposalOutcome[] = []

  get isEmpty(): boolean {
    return (
      this.messages.length === 0 &&
      this.messagesAfterPersist.length === 0 &&
      this.chunks.length === 0 &&
      this.snapshotReads.length === 0 &&
      this.readOutcomes.length === 0 &&
      this.proposalOutcomes.length === 0
    )
  }
}

/**
 * The state of one Raft member and the few operations on it that every role needs. The rules live in
 * functions beside it, one file per concern: election, leadership, replication, follower, snapshots,
 * proposals, membership, reads, transfer.
 */
export class RaftCore {
  readonly id: NodeId
  readonly options: RaftOptions
  readonly random: () => number
  readonly mutations: Mutations

  readonly log: RaftLog
  readonly membership: ConfigurationHistory
  /** The latest snapshot that the host has made durable: what a follower far behind is sent. */
  snapshot: SnapshotMetadata

  term: number
  vote: NodeId | undefined
  role: Role = 'follower'
  leader: NodeId | undefined

  /** Ticks since the start; never reset, so spans are differences. */
  ticks = 0
  electionElapsed = 0
  heartbeatElapsed = 0
  /** Drawn anew for every term and candidacy. */
  electionTimeout = 0

  /** Answers to this candidacy. */
  readonly votes = new Map<NodeId, boolean>()
  /** Leader only: one per member, itself included. */
  readonly progress = new Map<NodeId, Progress>()
  /** Leader only. */
  readonly reads = new ReadQueue()
  /** Leader only: who is to take over, and since when. */
  transfer: { readonly target: NodeId; readonly sinceTick: number } | undefined

  incoming: IncomingSnapshot | undefined
  readonly requests: PendingRequests
  outbox = new Outbox()

  constructor(input: CoreInput) {
    const { hardState, snapshot, entries } = input.restored
    this.id = input.id
    this.options = input.options
    this.random = input.random
    this.mutations = input.mutations
    this.term = hardState.term
    this.vote = hardState.vote
    this.snapshot = snapshot
    const kept = entries.filter((entry) => entry.index > snapshot.index)
    this.log = new RaftLog(snapshot, kept, hardState)
    this.membership = new ConfigurationHistory(snapshot.index, snapshot.configuration)
    this.membership.observe(kept)
    this.requests = new PendingRequests(input.random)
    assertInvariant(
      this.log.lastTerm <= this.term,
      RAFT_INVARIANTS.termsReached,
      'the log holds an entry of a term not yet reached',
    )
    this.drawElectionTimeout()
  }

  get isLeader(): boolean {
    return this.role === 'leader'
  }

  get isVoter(): boolean {
    return this.membership.current.voters.includes(this.id)
  }

  /**
   * Voters stand for election, and so does one that its own log demotes or removes until it knows that to be
   * committed: nobody else may hold that log, and the others may need its entries (thesis 4.2.2).
   */
  get mayStand(): boolean {
    if (this.isVoter) return true
    return (
      this.membership.currentIndex > this.log.committed && this.membership.previous.voters.includes(this.id)
    )
  }

  /** Until a leader has committed in its own term it cannot know what is committed (thesis 6.4). */
  get committedInTerm(): boolean {
    return this.log.termAt(this.log.committed) === this.term
  }

  drawElectionTimeout(): void {
    const { electionTicks } = this.options
    this.electionTimeout = electionTicks + Math.floor(this.random() * electionTicks)
  }

  /** Signs a draft and puts it into the outbox that its kind belongs to. */
  send(draft: Draft): void {
    // The draft is nobody else's: a copy of every message would be a cost that shows.
    const signed = draft as Draft & { from: NodeId; term: number }
    signed.from = this.id
    signed.term = isTermless(draft.type) ? 0 : (draft.term ?? this.term)
    const message = signed as Message
    if (waitsForDisk(draft.type) && !this.mutations.acknowledgeBeforePersist) {
      this.outbox.messagesAfterPersist.push(message)
    } else {
      this.outbox.messages.push(message)
    }
  }

  /** Appends in the leader's own term and returns the index of the last one. */
  appendOwn(bodies: readonly EntryBody[]): number {
    const entries = bodies.map((body, at) => entryOf(body, this.log.lastIndex + 1 + at, this.term))
    this.log.append(entries)
    this.membership.observe(entries)
    return this.log.lastIndex
  }

  newProgress(): Progress {
    const { maxInflightMessages, maxInflightBytes } = this.options
    return new Progress(this.log.lastIndex + 1, this.ticks, maxInflightMessages, maxInflightBytes)
  }

  /** Heard from within an election timeout; a leader always hears itself. */
  isActive(node: NodeId): boolean {
    if (node === this.id) return true
    const progress = this.progress.get(node)
    return progress !== undefined && this.ticks - progress.lastActiveTick <= this.options.electionTicks
  }
}
