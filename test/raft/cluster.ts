import type { MembershipChange } from '../../src/raft/configuration.js'
import { members } from '../../src/raft/configuration.js'
import type { RestoredState } from '../../src/raft/core.js'
import type { Message } from '../../src/raft/messages.js'
import type { Mutations } from '../../src/raft/mutations.js'
import type { RaftOptions } from '../../src/raft/options.js'
import { founding, joining, RaftNode } from '../../src/raft/raft-node.js'
import type { Ready } from '../../src/raft/ready.js'
import type { Entry, HardState, SnapshotMetadata } from '../../src/raft/types.js'
import { SafetyChecker, SafetyViolation } from './checkers.js'
import type { SeededRandom } from './random.js'

/** What the log drives; the cluster knows commands only as bytes. */
export interface Application {
  apply(index: number, data: Uint8Array): void
  snapshot(): Uint8Array
  restore(bytes: Uint8Array): void
}

export interface ClusterOptions {
  readonly random: SeededRandom
  readonly createApplication: () => Application
  readonly raft?: Partial<RaftOptions>
  readonly mutations?: Mutations
  /** Probability that what waits for the disk is durable after one step. */
  readonly persistProbability: number
}

/** Survives a crash. */
interface DurableState {
  hardState: HardState
  snapshot: SnapshotMetadata
  snapshotBytes: Uint8Array
  entries: Entry[]
}

/** Files kept so that a transfer under way can go on after a newer snapshot was taken. */
const KEPT_SNAPSHOTS = 2

export class Member {
  node: RaftNode | undefined
  application: Application
  /** Handed out, not durable yet: lost in a crash. */
  waiting: Ready[] = []
  /** The log as the member believes it to be, durable or not. */
  entries: Entry[]
  frozen = false
  readonly inbox: Message[] = []
  readonly reads = new Map<string, number>()
  #snapshots: { metadata: SnapshotMetadata; bytes: Uint8Array }[] = []
  #receiving: Uint8Array[] = []

  constructor(
    readonly id: string,
    readonly durable: DurableState,
    readonly cluster: Cluster,
  ) {
    this.application = cluster.options.createApplication()
    this.entries = [...durable.entries]
  }

  start(): void {
    const { random, createApplication, raft, mutations } = this.cluster.options
    const { hardState, snapshot, snapshotBytes, entries } = this.durable
    const restored: RestoredState = { hardState, snapshot, entries: [...entries] }
    this.node = new RaftNode({
      id: this.id,
      random: random.uniform,
      restored,
      ...(raft && { options: raft }),
      ...(mutations && { mutations }),
    })
    this.application = createApplication()
    if (snapshot.index > 0) this.application.restore(snapshotBytes)
    this.#snapshots = [{ metadata: snapshot, bytes: snapshotBytes }]
    this.entries = entries.filter((entry) => entry.index > snapshot.index)
  }

  /** Everything not durable is gone. */
  crash(): void {
    this.node = undefined
    this.waiting = []
    this.inbox.length = 0
    this.reads.clear()
    this.#receiving = []
    this.frozen = false
  }

  termAt(index: number): number | undefined {
    const first = this.entries[0]?.index ?? Number.POSITIVE_INFINITY
    if (index >= first) return this.entries[index - first]?.term
    // What a snapshot covers was committed; which term it had no longer matters.
    return index <= (this.#snapshots.at(-1)?.metadata.index ?? 0)
      ? this.cluster.termOfApplied(index)
      : undefined
  }

  /** Takes every `Ready` there is, as the host contract in raft-node.ts says. */
  work(): void {
    this.#takeAll()
    // Only now and then: a host need not, since heartbeats tell it too.
    if (this.cluster.options.random.chance(0.7)) this.node?.announceCommit()
    this.#takeAll()
  }

  #takeAll(): void {
    for (;;) {
      const ready = this.node?.ready()
      if (ready === undefined) return
      for (const message of ready.messages) this.cluster.post(message)
      this.#noteEntries(ready)
      this.#install(ready)
      for (const entry of ready.committed) this.#apply(entry)
      if (ready.softState?.role === 'leader') this.#noteLeader(ready.softState.term)
      this.#settleReads(ready)
      for (const read of ready.snapshotReads) this.#readSnapshot(read)
      this.cluster.outcomes(this, ready)
      this.waiting.push(ready)
    }
  }

  persistOldest(): void {
    const ready = this.waiting.shift()
    if (ready === undefined) return
    if (ready.hardState !== undefined) this.durable.hardState = ready.hardState
    for (const chunk of ready.chunks) {
      if (!chunk.last) continue
      this.durable.snapshot = chunk.snapshot
      this.durable.snapshotBytes = this.#bytesOf(chunk.snapshot)
      this.durable.entries = []
    }
    const first = ready.entries[0]
    if (first !== undefined) {
      this.durable.entries = this.durable.entries.filter((entry) => entry.index < first.index)
      this.durable.entries.push(...ready.entries)
    }
    for (const message of ready.messagesAfterPersist) this.cluster.post(message)
    this.node!.advance(ready)
  }

  compact(retain: number): void {
    const node = this.node!
    const { applied } = node.status()
    if (applied <= this.durable.snapshot.index || applied < node.status().firstIndex) return
    // The snapshot must not overtake what the disk holds of the log.
    if (this.waiting.length > 0) return
    const metadata = node.snapshotMetadata(applied)
    const bytes = this.application.snapshot()
    this.#snapshots = [...this.#snapshots, { metadata, bytes }].slice(-KEPT_SNAPSHOTS)
    this.durable.snapshot = metadata
    this.durable.snapshotBytes = bytes
    node.compact(metadata, retain)
    const keepFrom = node.status().firstIndex
    this.durable.entries = this.durable.entries.filter((entry) => entry.index >= keepFrom)
    this.entries = this.entries.filter((entry) => entry.index >= keepFrom)
  }

  read(): void {
    const result = this.node!.requestRead()
    if (result.status === 'pending') this.reads.set(result.requestId, this.cluster.checker.highestApplied)
  }

  #noteEntries(ready: Ready): void {
    const first = ready.entries[0]
    if (first === undefined) return
    if (ready.chunks.some((chunk) => chunk.last)) this.entries = []
    this.entries = this.entries.filter((entry) => entry.index < first.index)
    let previousTerm = this.entries.at(-1)?.term ?? this.cluster.termOfApplied(first.index - 1) ?? 0
    for (const entry of ready.entries) {
      this.cluster.checker.appended(this.id, entry, previousTerm)
      this.entries.push(entry)
      previousTerm = entry.term
    }
  }

  #install(ready: Ready): void {
    for (const chunk of ready.chunks) {
      if (chunk.offset === 0) this.#receiving = []
      this.#receiving.push(chunk.data)
      if (!chunk.last) continue
      const bytes = concat(this.#receiving)
      this.#receiving = []
      this.#snapshots = [...this.#snapshots, { metadata: chunk.snapshot, bytes }].slice(-KEPT_SNAPSHOTS)
      this.entries = this.entries.filter((entry) => entry.index > chunk.snapshot.index)
      this.application = this.cluster.options.createApplication()
      this.application.restore(bytes)
    }
  }

  #bytesOf(snapshot: SnapshotMetadata): Uint8Array {
    return this.#snapshots.find(({ metadata }) => metadata.index === snapshot.index)!.bytes
  }

  #apply(entry: Entry): void {
    this.cluster.noteApplied(this, entry)
    if (entry.kind === 'command') this.application.apply(entry.index, entry.data)
  }

  #noteLeader(term: number): void {
    this.cluster.checker.becameLeader(this.id, term)
    this.cluster.checker.leaderHolds(this.id, term, (index) => this.termAt(index))
    this.cluster.leaderChanges += 1
  }

  #settleReads(ready: Ready): void {
    for (const outcome of ready.readOutcomes) {
      const started = this.reads.get(outcome.requestId)
      if (started === undefined)
        throw new SafetyViolation('read outcomes', `${outcome.requestId} was not asked`)
      this.reads.delete(outcome.requestId)
      if (outcome.status !== 'confirmed') continue
      this.cluster.confirmedReads += 1
      this.cluster.checker.readConfirmed(this.id, outcome.index, started)
    }
  }

  #readSnapshot({ to, snapshot, offset, maxBytes }: Ready['snapshotReads'][number]): void {
    const stored = this.#snapshots.find(({ metadata }) => metadata.index === snapshot.index)
    if (stored === undefined) {
      this.node!.snapshotUnavailable(to, snapshot.index)
      return
    }
    const data = stored.bytes.subarray(offset, offset + maxBytes)
    const last = offset + data.length >= stored.bytes.length
    this.node!.provideSnapshotChunk({ to, snapshotIndex: snapshot.index, offset, data, last })
    this.cluster.chunksSent += 1
  }
}

function concat(pieces: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(pieces))
}

/** A whole group in one process: members with disks that lose what was not persisted, and a bad network. */
export class Cluster {
  readonly members = new Map<string, Member>()
  readonly checker = new SafetyChecker()
  readonly cut = new Set<string>()
  now = 0
  dropProbability = 0
  duplicateProbability = 0
  maxDelay = 1
  leaderChanges = 0
  confirmedReads = 0
  chunksSent = 0
  onOutcomes: (member: Member, ready: Ready) => void = () => {}
  readonly #terms = new Map<number, number>()
  #network: { readonly at: number; readonly message: Message }[] = []

  constructor(readonly options: ClusterOptions) {}

  add(id: string, founder: boolean): Member {
    const { hardState, snapshot } = founder ? founding(id) : joining()
    const member = new Member(id, { hardState, snapshot, snapshotBytes: new Uint8Array(), entries: [] }, this)
    this.members.set(id, member)
    member.start()
    return member
  }

  get alive(): Member[] {
    return [...this.members.values()].filter((member) => member.node !== undefined)
  }

  get leader(): Member | undefined {
    const leaders = this.alive.filter((member) => member.node!.status().role === 'leader')
    return leaders.sort((left, right) => right.node!.status().term - left.node!.status().term)[0]
  }

  termOfApplied(index: number): number | undefined {
    return this.#terms.get(index)
  }

  noteApplied(member: Member, entry: Entry): void {
    this.checker.applied(member.id, entry)
    this.#terms.set(entry.index, entry.term)
  }

  outcomes(member: Member, ready: Ready): void {
    this.onOutcomes(member, ready)
  }

  post(message: Message): void {
    const { random } = this.options
    if (random.chance(this.dropProbability)) return
    const copies = random.chance(this.duplicateProbability) ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      this.#network.push({ at: this.now + 1 + random.below(this.maxDelay), message })
    }
  }

  change(change: MembershipChange): void {
    this.leader?.node?.changeMembership(change)
  }

  /** One tick of time for everybody, with deliveries and disks in between. */
  step(): void {
    this.now += 1
    const due = this.#network.filter(({ at }) => at <= this.now)
    this.#network = this.#network.filter(({ at }) => at > this.now)
    for (const { message } of due) this.#deliver(message)
    for (const member of this.alive) {
      if (member.frozen) continue
      for (const message of member.inbox.splice(0)) member.node?.step(message)
      member.node?.tick()
      member.work()
      // One write covers everything that waits, as a group commit does.
      if (this.options.random.chance(this.options.persistProbability)) {
        for (let count = member.waiting.length; count > 0; count--) member.persistOldest()
        member.work()
      }
    }
  }

  #deliver(message: Message): void {
    const member = this.members.get(message.to)
    if (member?.node === undefined || this.cut.has(`${message.from}>${message.to}`)) return
    if (member.frozen) member.inbox.push(message)
    else member.node.step(message)
  }

  heal(): void {
    this.cut.clear()
    this.dropProbability = 0
    this.duplicateProbability = 0
    this.maxDelay = 1
    for (const member of this.members.values()) {
      member.frozen = false
      if (member.node === undefined) member.start()
    }
  }

  /** Liveness: the members agree on one leader and have applied the same. */
  get converged(): boolean {
    const leader = this.leader
    if (leader === undefined) return false
    const { configuration, commit, lastIndex, committedInTerm } = leader.node!.status()
    if (!committedInTerm || commit !== lastIndex) return false
    return members(configuration).every((id) => this.members.get(id)?.node?.status().applied === commit)
  }
}
