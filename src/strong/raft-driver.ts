import type { Environment, Timer } from '../environment/environment.js'
import { nextTurn } from '../environment/next-turn.js'
import type { MembershipChange } from '../raft/configuration.js'
import type { Message } from '../raft/messages.js'
import type { Mutations } from '../raft/mutations.js'
import type { RaftOptions } from '../raft/options.js'
import type { ProposeResult } from '../raft/proposals.js'
import { RaftNode } from '../raft/raft-node.js'
import type { ReadResult } from '../raft/reads.js'
import type { ProposalOutcome, ReadOutcome, Ready, ReceivedChunk, SnapshotRead } from '../raft/ready.js'
import type { Refusal } from '../raft/refusals.js'
import { requestToTuple } from '../raft/state-machine/command-codec.js'
import { withoutSession } from '../raft/state-machine/commands.js'
import { LeaseExpiry } from '../raft/state-machine/lease-expiry.js'
import { STATE_MACHINE_LIMITS } from '../raft/state-machine/limits.js'
import type { Result } from '../raft/state-machine/results.js'
import { StateMachine } from '../raft/state-machine/state-machine.js'
import type { RaftStatus } from '../raft/status.js'
import type { Entry, NodeId } from '../raft/types.js'
import type { Logger } from '../sync/logger.js'
import { encodeMessage } from '../wire/encode.js'
import { decodeTuple } from '../wire/safe-cbor.js'
import type { WireTuple } from '../wire/wire-value.js'
import type { RaftDisk } from './raft-disk.js'
import { pieceToRecord } from './raft-records.js'
import { piecesOf, restoreImage, takeImage } from './snapshot-image.js'

export interface RaftTimings {
  /** Between heartbeats of the leader; default 150. */
  readonly heartbeatMs: number
  /** Shortest silence after which a voter stands for election; default 1,000; the longest is twice that. */
  readonly electionMs: number
}

export interface RaftDriverOptions extends RaftTimings {
  readonly environment: Environment
  readonly logger: Logger
  readonly node: NodeId
  readonly disk: RaftDisk
  readonly maxVoters: number
  /** Appends records to the journal and returns the position at which they are durable. */
  readonly append: (records: readonly Uint8Array[]) => number
  readonly whenDurable: (position: number) => Promise<void>
  /** Sends to another member; it may get lost. */
  readonly send: (message: Message) => void
  readonly owner: RaftOwner
  readonly mutations?: Mutations
  readonly sizes?: Partial<RaftOptions>
}

export interface RaftOwner {
  /** A command has been applied; `request` is its decoded tuple, undefined when it was no tuple. */
  applied(index: number, request: WireTuple | undefined, result: Result): void
  /** Applied entries up to here, of whatever kind; local reads reflect them. */
  progressed(appliedIndex: number): void
  /** The state machine has been replaced by a snapshot. */
  restored(): void
  readOutcome(outcome: ReadOutcome): void
  proposalOutcome(outcome: ProposalOutcome): void
  leaderChanged(leader: NodeId | undefined, isLeader: boolean): void
  /** This member's memory can no longer be trusted; it has been stopped. */
  failed(error: unknown): void
}

/** Raft log bytes in memory at which a snapshot is taken and the log is cut. */
export const COMPACT_LOG_BYTES = 4 * 1024 * 1024
/** Entries kept behind a snapshot, so that a follower that is a little behind needs no snapshot. */
const RETAINED_ENTRIES = 2_048
const TICKS_PER_HEARTBEAT = 2
/** How often the leader looks for leases that nobody renews. */
const LEASE_CHECK_MS = 250

const SIZES: Partial<RaftOptions> = {
  maxAppendBytes: 160 * 1024,
  maxEntryBytes: 144 * 1024,
  maxInflightBytes: 1024 * 1024,
  snapshotChunkBytes: 96 * 1024,
}

interface Outstanding {
  readonly ready: Ready
  readonly position: number
}

/**
 * Drives the pure Raft core on a real or simulated server: ticks, the journal, the links and the state
 * machine. The order of things is that of the doc comment of `RaftNode`.
 */
export class RaftDriver {
  machine: StateMachine
  appliedIndex: number
  private readonly raft: RaftNode
  private readonly expiry = new LeaseExpiry()
  private readonly outstanding: Outstanding[] = []
  private readonly tickMs: number
  private tickTimer: Timer | undefined
  private lastLeaseCheckMs = 0
  private durablePosition = 0
  private pumping = false
  private commitUnwritten = false
  private announcing = false
  private compacting = false
  private stopped = false

  constructor(private readonly options: RaftDriverOptions) {
    const { disk, environment, heartbeatMs, electionMs, maxVoters, mutations, node, sizes } = options
    this.tickMs = heartbeatMs / TICKS_PER_HEARTBEAT
    const restored = disk.restored(node)
    this.machine = disk.image
      ? restoreImage(disk.image, this.machineInput())
      : new StateMachine(this.machineInput())
    this.appliedIndex = restored.snapshot.index
    this.raft = new RaftNode({
      id: node,
      options: {
        ...SIZES,
        ...sizes,
        heartbeatTicks: TICKS_PER_HEARTBEAT,
        electionTicks: Math.max(2 * TICKS_PER_HEARTBEAT, Math.round(electionMs / this.tickMs)),
        requestTimeoutTicks: Math.max(4, Math.round((2 * electionMs) / this.tickMs)),
        maxVoters,
      },
      random: () => environment.random.uniform(),
      restored,
      ...(mutations && { mutations }),
    })
  }

  get isLeader(): boolean {
    return this.raft.isLeader
  }

  /** Whom this member takes for the leader. */
  get leader(): NodeId | undefined {
    return this.raft.leader
  }

  status(): RaftStatus {
    return this.raft.status()
  }

  start(): void {
    const { configuration } = this.raft.status()
    // Whoever is in no group yet has nothing to time.
    if (configuration.voters.length > 0) this.scheduleTick()
    if (configuration.voters.length === 1 && configuration.voters[0] === this.options.node)
      this.raft.campaign()
    this.schedule()
  }

  stop(): void {
    this.stopped = true
    this.tickTimer?.cancel()
  }

  receive(message: Message): void {
    if (!this.tickTimer && !this.stopped) this.scheduleTick()
    this.guard(() => this.raft.step(message))
  }

  propose(data: Uint8Array): ProposeResult {
    return this.call(() => this.raft.propose(data), { status: 'refused', reason: 'no-leader' })
  }

  requestRead(): ReadResult {
    return this.call(() => this.raft.requestRead(), { status: 'refused', reason: 'no-leader' })
  }

  changeMembership(change: MembershipChange): ProposeResult {
    return this.call(() => this.raft.changeMembership(change), { status: 'refused', reason: 'no-leader' })
  }

  transferLeadership(target: NodeId): Refusal | undefined {
    return this.call<Refusal | undefined>(() => this.raft.transferLeadership(target), 'no-leader')
  }

  unreachable(node: NodeId): void {
    this.guard(() => this.raft.reportUnreachable(node))
  }

  /** The link to that server broke: if it led, this member does not wait for the whole election timeout. */
  linkLost(node: NodeId): void {
    this.guard(() => this.raft.reportLinkLost(node))
  }

  /** The journal is durable up to `position`. */
  durable(position: number): void {
    this.durablePosition = position
    this.guard(() => this.advance())
  }

  private advance(): void {
    while (this.outstanding.length > 0 && this.outstanding[0]!.position <= this.durablePosition) {
      const { ready } = this.outstanding.shift()!
      for (const message of ready.messagesAfterPersist) this.options.send(message)
      this.raft.advance(ready)
    }
  }

  private call<T>(action: () => T, otherwise: T): T {
    let result = otherwise
    this.guard(() => {
      result = action()
    })
    return result
  }

  /** Everything that touches the core: a broken invariant stops this member, never the server around it. */
  private guard(action: () => void): void {
    if (this.stopped) return
    try {
      action()
      this.schedule()
    } catch (error) {
      this.stop()
      this.options.owner.failed(error)
    }
  }

  /** Work is batched: whatever comes in within one job goes out together at its end; a turn later would cost twice the time. */
  private schedule(): void {
    if (this.pumping || this.stopped) return
    this.pumping = true
    queueMicrotask(() => {
      this.pumping = false
      if (!this.stopped) this.pump()
    })
  }

  private pump(): void {
    let worked = false
    try {
      for (let ready = this.raft.ready(); ready; ready = this.raft.ready()) {
        worked = true
        this.handle(ready)
        this.advance()
      }
      this.considerCompaction()
    } catch (error) {
      this.stop()
      this.options.owner.failed(error)
      return
    }
    if (worked) this.options.owner.progressed(this.appliedIndex)
    this.announceCommitSoon()
  }

  /** A turn later: most often the next entries have left by then and have said it. */
  private announceCommitSoon(): void {
    if (this.announcing || !this.raft.commitUnannounced) return
    this.announcing = true
    this.options.environment.scheduler.soon(() => {
      this.announcing = false
      this.guard(() => this.raft.announceCommit())
    })
  }

  private handle(ready: Ready): void {
    const { disk, owner, send, append } = this.options
    for (const message of ready.messages) send(message)
    const records: Uint8Array[] = []
    for (const chunk of ready.chunks) records.push(this.takeChunk(chunk))
    // News of commitment alone is worth no write of its own: a restart learns it anew. It goes with the next one.
    if (ready.hardState && !ready.mustSync) this.commitUnwritten = true
    else if (ready.mustSync) this.commitUnwritten = false
    records.push(...disk.persist(ready.hardState, ready.entries, ready.mustSync))
    const before = this.outstanding.at(-1)?.position ?? 0
    // What need not be synced still keeps its place behind what must.
    const written = records.length > 0 ? append(records) : 0
    this.outstanding.push({ ready, position: ready.mustSync ? written : before })
    for (const entry of ready.committed) this.apply(entry)
    for (const outcome of ready.readOutcomes) owner.readOutcome(outcome)
    for (const outcome of ready.proposalOutcomes) owner.proposalOutcome(outcome)
    for (const read of ready.snapshotReads) this.answerSnapshotRead(read)
    if (ready.softState) this.leadershipChanged(ready.softState.leader, ready.softState.role === 'leader')
  }

  private leadershipChanged(leader: NodeId | undefined, isLeader: boolean): void {
    this.expiry.reset()
    this.lastLeaseCheckMs = this.options.environment.clock.monotonicMs()
    this.options.logger.info({ leader, term: this.raft.status().term }, 'raft leader')
    this.options.owner.leaderChanged(leader, isLeader)
  }

  private apply(entry: Entry): void {
    this.appliedIndex = entry.index
    const applied = applyEntry(this.machine, entry)
    if (applied) this.options.owner.applied(entry.index, applied.request, applied.result)
  }

  /** A piece of the leader's snapshot: journalled as it comes, taken over with the last one. */
  private takeChunk(chunk: ReceivedChunk): Uint8Array {
    const { disk, owner } = this.options
    const { record, image } = disk.receivePiece({ ...chunk, metadata: chunk.snapshot, replacesLog: true })
    if (image) {
      this.machine = restoreImage(image, this.machineInput())
      this.appliedIndex = image.metadata.index
      owner.restored()
    }
    return record
  }

  private answerSnapshotRead({ to, snapshot, offset, maxBytes }: SnapshotRead): void {
    const { image } = this.options.disk
    if (image?.metadata.index !== snapshot.index) {
      this.raft.snapshotUnavailable(to, snapshot.index)
      return
    }
    const data = image.bytes.subarray(offset, offset + maxBytes)
    const last = offset + data.length >= image.bytes.length
    this.raft.provideSnapshotChunk({ to, snapshotIndex: snapshot.index, offset, data, last })
  }

  private considerCompaction(): void {
    const { disk, logger } = this.options
    const due = Math.max(COMPACT_LOG_BYTES, 2 * (disk.image?.bytes.length ?? 0))
    if (this.compacting || this.raft.logBytes < due) return
    this.compacting = true
    this.compact().then(
      () => {
        this.compacting = false
      },
      (error: unknown) => {
        this.compacting = false
        logger.warn({ error }, 'raft snapshot failed')
      },
    )
  }

  private async compact(): Promise<void> {
    const { append, disk, environment, whenDurable } = this.options
    const turn = () => nextTurn(environment.scheduler)
    const image = await takeImage(this.machine, this.raft.snapshotMetadata(this.appliedIndex), turn)
    // A snapshot from a leader may have come in between; it is further than this one.
    if (this.stopped || image.metadata.index <= (disk.image?.metadata.index ?? 0)) return
    await whenDurable(append([...piecesOf(image, false)].map(pieceToRecord)))
    if (this.stopped) return
    disk.setImage(image, false)
    this.guard(() => this.raft.compact(image.metadata, RETAINED_ENTRIES))
  }

  private scheduleTick(): void {
    this.tickTimer = this.options.environment.scheduler.after(this.tickMs, () => {
      if (this.stopped) return
      this.scheduleTick()
      // One tick however late it is: a server that was asleep must not believe that others were silent.
      this.guard(() => {
        this.raft.tick()
        this.writeCommit()
      })
      this.expireLeases()
    })
  }

  /** Local reads after a restart are behind by no more than a tick. */
  private writeCommit(): void {
    if (!this.commitUnwritten) return
    this.commitUnwritten = false
    this.options.append([this.options.disk.hardStateRecord()])
  }

  private expireLeases(): void {
    const nowMs = this.options.environment.clock.monotonicMs()
    const elapsedMs = nowMs - this.lastLeaseCheckMs
    if (elapsedMs < LEASE_CHECK_MS || !this.isLeader) return
    this.lastLeaseCheckMs = nowMs
    // A stall of this server is no reason to end what others could not renew meanwhile.
    const countedMs = Math.min(elapsedMs, 2 * LEASE_CHECK_MS)
    const expiries = this.expiry.elapse(countedMs, this.machine.leases(), STATE_MACHINE_LIMITS.maxExpiries)
    if (expiries.length === 0) return
    const request = requestToTuple(withoutSession({ kind: 'expire-leases', expiries }))
    this.propose(encodeMessage(request as WireTuple))
  }

  private machineInput() {
    const { mutations } = this.options
    return mutations ? { mutations } : {}
  }
}

/** Applies a committed command; undefined for entries that are about the log itself. */
export function applyEntry(
  machine: StateMachine,
  entry: Entry,
): { request: WireTuple | undefined; result: Result } | undefined {
  if (entry.kind !== 'command') return undefined
  let request: WireTuple | undefined
  try {
    request = decodeTuple(entry.data)
  } catch {
    // A committed entry has the same outcome everywhere, also one that nobody can read.
    request = undefined
  }
  return { request, result: machine.apply(entry.index, request) }
}
