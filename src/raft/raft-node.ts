import { assertInvariant, InvalidArgumentError } from '../sync/errors.js'
import { type Configuration, EMPTY_CONFIGURATION, type MembershipChange } from './configuration.js'
import { Outbox, RaftCore, type RestoredState } from './core.js'
import { forgetLeader, startPreVote } from './election.js'
import { RAFT_INVARIANTS } from './invariants.js'
import type { Message } from './messages.js'
import { type Mutations, NO_MUTATIONS } from './mutations.js'
import { type RaftOptions, validateRaftOptions } from './options.js'
import { type ProposeResult, propose } from './proposals.js'
import { flushReads, type ReadResult, requestRead } from './reads.js'
import type { Ready, SoftState } from './ready.js'
import type { Refusal } from './refusals.js'
import {
  advanceCommit,
  announceCommit,
  flushAppends,
  handleUnreachable,
  hasUnannouncedCommit,
} from './replication.js'
import { abandonSnapshot, type ProvidedChunk, sendSnapshotChunk } from './snapshots.js'
import { type RaftStatus, statusOf } from './status.js'
import { step, tick } from './step.js'
import { startTransfer } from './transfer.js'
import { type HardState, MAX_NODE_ID_LENGTH, type NodeId, type SnapshotMetadata } from './types.js'

/** Batches that may be on their way to the disk at once; `ready` pauses beyond it. */
export const MAX_READIES_IN_FLIGHT = 64

export interface RaftNodeInput {
  readonly id: NodeId
  readonly options?: Partial<RaftOptions>
  /** Uniform in [0, 1). Must differ between runs of one server, for request ids are made of it. */
  readonly random: () => number
  /** What the disk gave back; at the first start `founding(id)` or `joining()`. */
  readonly restored: RestoredState
  /** Tests and the simulator only. */
  readonly mutations?: Mutations
}

const FIRST_HARD_STATE: HardState = { term: 0, vote: undefined, commit: 0 }

/** First start of the one server that founds the group. Persist it (the snapshot metadata too) before use. */
export function founding(id: NodeId): RestoredState {
  const configuration: Configuration = { voters: [id], learners: [] }
  return { hardState: FIRST_HARD_STATE, snapshot: { index: 0, term: 0, configuration }, entries: [] }
}

/** First start of every other server: it knows nobody, never stands, and waits to be added by a leader. */
export function joining(): RestoredState {
  const snapshot = { index: 0, term: 0, configuration: EMPTY_CONFIGURATION }
  return { hardState: FIRST_HARD_STATE, snapshot, entries: [] }
}

/**
 * One member of a Raft group as a pure state machine (Ongaro 2014; the shape is that of etcd's raft). It
 * reads no clock, touches no disk, sends nothing: the host feeds it and does what `Ready` says.
 *
 * # How to drive it
 *
 * In: `step` for every message that arrives, `tick` every tick, and the requests (`propose`,
 * `changeMembership`, `requestRead`, `transferLeadership`). None of them has an effect outside; they answer
 * at once. After any of them, or after many (that is the batching), call `ready` until it returns undefined.
 * For each `Ready`, in the order they were handed out:
 *
 *  1. `messages`: send at once, while the disk works. They may be lost, late, doubled; their order per
 *     receiver should be kept, or replication falls back to probing.
 *  2. `chunks`: append each to the snapshot file being received (offset 0 starts a new file). With `last`:
 *     make it durable under its `snapshot` metadata, drop the log on disk entirely, and restore the state
 *     machine from it. A snapshot that cannot be restored is a reason to crash, not to go on.
 *  3. `hardState` and `entries`: write both in one record batch. `entries` replace everything on disk from
 *     `entries[0].index` on. When `mustSync`, fdatasync. Host time spent here may overlap with further
 *     `step`, `tick` and `ready` calls; several batches may be on their way, one fdatasync may cover many.
 *  4. `committed`: apply in order. They are durable here already, so this need not wait for step 3 of the
 *     same `Ready`, but must come after its chunks. What the state machine answers is matched to waiting
 *     callers by the session and sequence in the command, not by log position.
 *  5. When 2 and 3 are durable: `messagesAfterPersist`: send. Then `advance(ready)`, strictly in the order of
 *     `sequence`. `advance` may give rise to a further `Ready`.
 *  6. `readOutcomes` (a confirmed read may be answered once `index` is applied), `proposalOutcomes`,
 *     `softState`: as they concern callers. `snapshotReads`: read the bytes of that snapshot and call
 *     `provideSnapshotChunk`, or `snapshotUnavailable`; never leave one unanswered.
 *
 * When `commitUnannounced` and nothing else is to be sent, call `announceCommit`: appends tell followers what is
 * committed, and a host that waits a moment for the next one saves a message to each of them.
 *
 * If persisting fails, stop: never advance, never send that `Ready`'s messagesAfterPersist, restart from disk.
 *
 * On disk belong: the latest hard state, the log after the snapshot, the latest snapshot with its metadata.
 * On restart replay them into `restored` and restore the state machine from the snapshot; entries after it are
 * handed out again in `committed`.
 *
 * Compaction: now and then (by `status().logBytes`) take `snapshotMetadata(applied)`, write the state
 * machine's snapshot durably under it, then call `compact`, keeping some entries for slow followers. Keep the
 * file while `status().members` shows a transfer of it, or answer `snapshotUnavailable`.
 *
 * Errors: an `InvariantViolation` from any call means that this member's memory can no longer be trusted
 * (typically a disk that lost acknowledged entries): stop the member, keep its disk for inspection.
 * Everything a peer can say is either handled or ignored; check shape with `messageFromTuple` first.
 */
export class RaftNode {
  readonly id: NodeId
  readonly #core: RaftCore
  #sequence = 0
  /** Handed out and not advanced, oldest first. */
  #outstanding: { readonly sequence: number; readonly own: readonly Message[] }[] = []
  #handedHardState: HardState
  #handedSoftState: SoftState

  /** @throws ConfigError for bad options, InvalidArgumentError for a bad id. */
  constructor(input: RaftNodeInput) {
    if (input.id.length === 0 || input.id.length > MAX_NODE_ID_LENGTH) {
      throw new InvalidArgumentError(`a node id has 1 to ${MAX_NODE_ID_LENGTH} characters`)
    }
    const options = validateRaftOptions(input.options)
    const mutations = input.mutations ?? NO_MUTATIONS
    this.id = input.id
    const { id, random, restored } = input
    this.#core = new RaftCore({ id, options, random, restored, mutations })
    this.#handedHardState = restored.hardState
    this.#handedSoftState = this.#softState()
  }

  /** A message from another member; ignored when it is not addressed to this very node. */
  step(message: Message): void {
    if (message.from !== this.id) step(this.#core, message)
  }

  /** Time has passed. A host that was asleep should tick once or twice, not make up for all that it missed. */
  tick(): void {
    tick(this.#core)
  }

  /** Proposes a command; a follower forwards it to the leader. The bytes are kept, not copied. */
  propose(data: Uint8Array): ProposeResult {
    return propose(this.#core, { kind: 'command', data })
  }

  /** Proposes a change of one member; forwarded likewise. It is in force when its entry is appended. */
  changeMembership(change: MembershipChange): ProposeResult {
    return propose(this.#core, { kind: 'change', change })
  }

  /** Asks for an index that a linearizable read begun now must wait for. */
  requestRead(): ReadResult {
    return requestRead(this.#core)
  }

  /** Asks the leader to hand over to `target`; undefined when asked, which is no promise that it succeeds. */
  transferLeadership(target: NodeId): Refusal | undefined {
    return startTransfer(this.#core, target)
  }

  /** Stands for election now instead of at the next timeout (with pre-vote): for a founder's first start. */
  campaign(): void {
    startPreVote(this.#core)
  }

  /** Some follower could be told that more is committed than it was. */
  get commitUnannounced(): boolean {
    return hasUnannouncedCommit(this.#core)
  }

  /** Tells them. Optional: heartbeats do it too, later. */
  announceCommit(): void {
    announceCommit(this.#core)
  }

  /** Messages to `node` could not be delivered. Optional: it saves filling the window for nobody. */
  reportUnreachable(node: NodeId): void {
    handleUnreachable(this.#core, node)
  }

  /**
   * The connection to `node` has broken. Optional: if `node` leads, others are no longer refused their votes for
   * its sake, and this member stands soon unless it hears from the leader again. Safe whatever the cause:
   * a pre-vote changes nothing while a majority still hears the leader.
   */
  reportLinkLost(node: NodeId): void {
    forgetLeader(this.#core, node)
  }

  /** Answers a `SnapshotRead`. Ignored when the transfer has moved on. */
  provideSnapshotChunk(chunk: ProvidedChunk): void {
    sendSnapshotChunk(this.#core, chunk)
  }

  /** Answers a `SnapshotRead` for a snapshot that is no longer there; the latest is offered instead. */
  snapshotUnavailable(to: NodeId, snapshotIndex: number): void {
    abandonSnapshot(this.#core, to, snapshotIndex)
  }

  /** What to store a snapshot of the applied state at `index` under. @throws InvalidArgumentError if compacted or not applied. */
  snapshotMetadata(index: number): SnapshotMetadata {
    const { log, membership } = this.#core
    const term = log.termAt(index)
    if (term === undefined || index > log.applied) {
      throw new InvalidArgumentError(
        `no snapshot at ${index}: applied ${log.applied}, compacted ${log.baseIndex}`,
      )
    }
    return { index, term, configuration: membership.at(index) }
  }

  /** The snapshot is durable: entries up to its index, but for the last `retainEntries`, are dropped. */
  compact(snapshot: SnapshotMetadata, retainEntries: number): void {
    const core = this.#core
    if (snapshot.index <= core.snapshot.index) return
    core.snapshot = snapshot
    core.log.compactTo(Math.max(core.log.baseIndex, snapshot.index - retainEntries))
    core.membership.compactTo(core.log.baseIndex)
  }

  /** Cheap, unlike `status`: for what is asked on every turn. */
  get isLeader(): boolean {
    return this.#core.isLeader
  }

  get leader(): NodeId | undefined {
    return this.#core.leader
  }

  /** Bytes of the log in memory; when they are many, it is time to compact. */
  get logBytes(): number {
    return this.#core.log.bytes
  }

  /** A copy of everything worth knowing, one object per member. */
  status(): RaftStatus {
    return statusOf(this.#core)
  }

  /** The next batch of work, or undefined when there is none. */
  ready(): Ready | undefined {
    if (this.#outstanding.length >= MAX_READIES_IN_FLIGHT) return undefined
    const core = this.#core
    if (core.isLeader) {
      flushReads(core)
      flushAppends(core)
    }
    const sequence = this.#sequence + 1
    const entries = core.log.takeUnpersisted(sequence)
    const committed = core.log.takeCommitted(core.options.maxApplyBytes)
    const { outbox } = core
    const hardState = this.#changedHardState()
    const softState = this.#changedSoftState()
    if (
      hardState === undefined &&
      softState === undefined &&
      entries.length === 0 &&
      committed.length === 0 &&
      outbox.isEmpty
    ) {
      return undefined
    }
    const mustSync = entries.length > 0 || outbox.chunks.length > 0 || this.#votedOrMoved(hardState)
    core.outbox = new Outbox()
    this.#sequence = sequence
    if (hardState !== undefined) this.#handedHardState = hardState
    if (softState !== undefined) this.#handedSoftState = softState
    // Only the mutation that skips the disk puts a message to oneself among those that need not wait.
    for (const message of outbox.messages) if (message.to === this.id) step(core, message)
    this.#outstanding.push({ sequence, own: outbox.messagesAfterPersist.filter(({ to }) => to === this.id) })
    const forOthers = ({ to }: Message) => to !== this.id
    return {
      sequence,
      softState,
      hardState,
      entries,
      mustSync,
      messages: outbox.messages.filter(forOthers),
      messagesAfterPersist: outbox.messagesAfterPersist.filter(forOthers),
      committed,
      chunks: outbox.chunks,
      snapshotReads: outbox.snapshotReads,
      readOutcomes: outbox.readOutcomes,
      proposalOutcomes: outbox.proposalOutcomes,
    }
  }

  /** The batch is durable and its messages are on their way. Oldest first, each once. */
  advance(ready: Ready): void {
    const oldest = this.#outstanding.shift()
    assertInvariant(
      oldest?.sequence === ready.sequence,
      RAFT_INVARIANTS.batchOrder,
      'batches are advanced in order',
    )
    const core = this.#core
    core.log.persistedThrough(ready.sequence)
    for (const message of oldest.own) step(core, message)
    advanceCommit(core)
  }

  #votedOrMoved(hardState: HardState | undefined): boolean {
    const before = this.#handedHardState
    return hardState !== undefined && (hardState.term !== before.term || hardState.vote !== before.vote)
  }

  #changedHardState(): HardState | undefined {
    const { term, vote, log } = this.#core
    const before = this.#handedHardState
    if (before.term === term && before.vote === vote && before.commit === log.committed) return undefined
    return { term, vote, commit: log.committed }
  }

  #softState(): SoftState {
    const { role, term, leader } = this.#core
    return { role, term, leader }
  }

  #changedSoftState(): SoftState | undefined {
    const { role, term, leader } = this.#handedSoftState
    const now = this.#softState()
    return now.role === role && now.term === term && now.leader === leader ? undefined : now
  }
}
