import { type Cell, CellKind, type Delta } from '../crdt/cell.js'
import { encodeDelta } from '../crdt/delta-encoder.js'
import { cutCells } from '../crdt/delta-size.js'
import { DELTA_BYTES } from '../crdt/limits.js'
import type { Generation } from '../crdt/own-writes.js'
import type { Partition, PreparedFlush } from '../crdt/partition.js'
import { type Journal, MAX_PENDING_BYTES } from '../journal/journal.js'
import type { SiloMeshError } from '../sync/errors.js'
import type { ReplicaId } from '../sync/identity.js'
import { encodeMessage } from '../wire/encode.js'
import { numberedToTuple, type UnnumberedWrites, unnumberedToTuple } from './journal-records.js'
import { WriteGroup } from './write-group.js'

export interface EncodedDelta {
  readonly delta: Delta
  readonly bytes: Uint8Array
}

export interface CommitterPorts {
  readonly journal: () => Journal
  readonly partitions: ReadonlyMap<string, Partition>
  readonly soon: (task: () => void) => void
  /** A fresh id for a record of unnumbered writes, and until when it must be known. */
  readonly nextRecord: () => { readonly id: string; readonly expiresAtMs: number }
  /** Own writes are durable, numbered and part of the state: they may leave the server now. */
  readonly committed: (partition: Partition, deltas: readonly EncodedDelta[]) => void
  /** Default `MAX_SEALED_GENERATIONS`. */
  readonly maxSealedGenerations?: number
}

interface NumberedFlight {
  readonly partition: Partition
  readonly flush: PreparedFlush
  readonly encoded: readonly EncodedDelta[]
}

/** Own writes journalled as changes, without a number. */
interface HeldWrites {
  readonly partition: Partition
  readonly generation: Generation
  /** As whom this server wrote when it journalled them. */
  readonly replica: ReplicaId
  /** As journalled: one run of cells a record. */
  readonly records: readonly (readonly Cell[])[]
  /** From an earlier run: then the id of its record, which whoever has it numbered knows. */
  readonly adopted?: string
}

/** One group commit of own writes on its way to the journal. */
interface Flight {
  readonly position: number
  readonly numbered: readonly NumberedFlight[]
  readonly held: readonly HeldWrites[]
}

/**
 * From so many changes on a group commit waits a few turns of the event loop for company: under such a load most
 * of what comes goes to the same entries, and what is written twice is numbered, encoded and stored once. A
 * machine that has nothing else to do turns in microseconds, so a single burst waits for nothing.
 */
const GATHER_ABOVE_CHANGES = 1024
const GATHER_TURNS = 3

/** Full generations of one partition that may wait for their flush: about four million changed entries. */
export const MAX_SEALED_GENERATIONS = 256
/** Above this much waiting for the disk no further flush is begun: remote deltas need room too. */
const MAX_FLUSH_BACKLOG_BYTES = MAX_PENDING_BYTES / 2

/**
 * Takes own writes to the journal in group commits, and into the shared state once they are durable
 * (invariant J1: persist before gossip).
 *
 * While numbering is *held* (a restarted server that has not yet heard from its peers cannot know whether it
 * lost writes that they have), own writes are journalled as changes without a number: durable at once, yet no
 * dot can be used twice (invariant I2). `openNumbering` then numbers them, oldest first.
 */
export class Committer {
  private readonly groups = new Map<Generation, WriteGroup>()
  /** Per partition the group of its newest write. */
  private readonly newest = new Map<Partition, WriteGroup>()
  private readonly overloaded = new Set<Partition>()
  private readonly maxSealed: number
  private flight: Flight | undefined
  private scheduled = false
  private gatheredTurns = 0
  private holding = false
  /** The journal has failed or is about to close: what is not on its way by now never will be. */
  private ended = false
  /** In the order of their records, per partition the order in which they will be numbered. */
  private held: HeldWrites[] = []
  private readonly requeued = new Set<Generation>()
  private readonly idleWaiters: (() => void)[] = []
  private readonly landingWaiters: (() => void)[] = []

  constructor(private readonly ports: CommitterPorts) {
    this.maxSealed = ports.maxSealedGenerations ?? MAX_SEALED_GENERATIONS
  }

  /**
   * The group that the newest write of this partition belongs to, and sees to its flush. Without a write since
   * the last flush that is the group of that flush, or one that has everything behind it.
   */
  groupOf(partition: Partition): WriteGroup {
    const generation = partition.own.openGeneration
    if (generation.length === 0) return this.newest.get(partition) ?? this.settledGroup(partition)
    let group = this.groups.get(generation)
    if (!group) {
      if (partition.own.sealedCount >= this.maxSealed) this.overloaded.add(partition)
      group = new WriteGroup()
      this.groups.set(generation, group)
      this.newest.set(partition, group)
      this.schedule()
    }
    return group
  }

  private settledGroup(partition: Partition): WriteGroup {
    const { replica, known } = partition.ownReplica
    const group = new WriteGroup()
    group.durable.reach(undefined)
    group.numbered.reach({ partition: partition.name, replica, number: known })
    return group
  }

  /** Writes come so much faster than the journal takes them that further ones must be refused for a while. */
  get isOverloaded(): boolean {
    return this.overloaded.size > 0
  }

  get numberingHeld(): boolean {
    return this.holding
  }

  get isIdle(): boolean {
    if (this.flight) return false
    // Opened for numbering while a group commit was under way: those that waited still have to be taken up.
    if (!this.holding && this.held.length > 0) return false
    for (const partition of this.ports.partitions.values()) if (!partition.own.isEmpty) return false
    return true
  }

  holdNumbering(): void {
    this.holding = true
  }

  /** From now on writes are numbered, those that waited first. */
  openNumbering(): void {
    this.holding = false
    this.schedule()
  }

  /** What a snapshot must contain so that a restart finds the unnumbered writes. */
  unnumberedWrites(): UnnumberedWrites[] {
    return this.held.flatMap(({ partition, records, replica }) =>
      records.map((cells) => ({ partition: partition.name, replica, cells })),
    )
  }

  /** Own writes of a partition that wait for a number, but for those that wait in its own queue. */
  unnumberedGenerations(partition: Partition): Generation[] {
    return this.held
      .filter((held) => held.partition === partition && !this.requeued.has(held.generation))
      .map(({ generation }) => generation)
  }

  /** Entries with own writes that have no number, once for each generation that they are in. */
  unnumberedEntries(partition: Partition): number {
    const flying = this.flight?.numbered.filter((numbered) => numbered.partition === partition) ?? []
    const generations = [
      ...partition.own.generations(),
      ...this.unnumberedGenerations(partition),
      ...flying.map(({ flush }) => flush.generation),
    ]
    return generations.reduce((count, generation) => count + generation.length, 0)
  }

  /** Where writes of an earlier run, journalled by a former incarnation, still have no number. */
  formerPartitions(): ReadonlySet<Partition> {
    const former = this.held.filter(
      ({ adopted, partition, replica }) => adopted !== undefined && replica !== partition.ownReplica.replica,
    )
    return new Set(former.map(({ partition }) => partition))
  }

  /** What an earlier run had journalled without a number; call before any write of this run. */
  adoptUnnumbered(writes: readonly UnnumberedWrites[]): void {
    for (const { partition: name, replica, cells } of writes) {
      const partition = this.ports.partitions.get(name)!
      partition.readoptUnnumbered(cells)
      const adopted = cells.find(({ kind }) => kind === CellKind.unnumberedRecord)?.key
      const held = { partition, generation: partition.own.take(), replica, records: [cells] }
      this.held.push(adopted === undefined ? held : { ...held, adopted })
    }
  }

  schedule(): void {
    if (this.scheduled || this.flight) return
    this.scheduled = true
    this.ports.soon(() => {
      this.scheduled = false
      if (this.shouldGather()) {
        this.gatheredTurns += 1
        this.schedule()
        return
      }
      this.gatheredTurns = 0
      this.run()
    })
  }

  private shouldGather(): boolean {
    // With more than one generation the oldest is full: nothing can join it any more.
    if (this.gatheredTurns === GATHER_TURNS || this.groups.size > 1) return false
    let changes = 0
    for (const { own } of this.ports.partitions.values()) changes += own.openGeneration.length
    return changes >= GATHER_ABOVE_CHANGES
  }

  /** The journal is durable up to `position`. */
  durable(position: number): void {
    const { flight } = this
    if (flight && position >= flight.position) {
      this.flight = undefined
      this.land(flight)
      for (const resolve of this.landingWaiters.splice(0)) resolve()
    }
    if (!this.isIdle) this.schedule()
    else for (const resolve of this.idleWaiters.splice(0)) resolve()
  }

  /** The disk is full (`final` false) or has failed: whoever waits hears of it. */
  failed(error: SiloMeshError, final: boolean): void {
    if (final) this.ended = true
    for (const group of this.groups.values()) group.fail(error, final)
    // A stop must not wait for somebody to make room on the disk.
    for (const resolve of this.idleWaiters.splice(0)) resolve()
    if (final) for (const resolve of this.landingWaiters.splice(0)) resolve()
  }

  /** Resolves when no own write is on its way to the journal any more, or the journal takes none for now. */
  whenIdle(): Promise<void> {
    if (this.isIdle || this.ports.journal().status !== 'ok') return Promise.resolve()
    this.schedule()
    return new Promise((resolve) => this.idleWaiters.push(resolve))
  }

  /** Resolves as soon as no group commit is under way; another may begin right after the caller's own turn. */
  whenLanded(): Promise<void> {
    if (!this.flight) return Promise.resolve()
    return new Promise((resolve) => this.landingWaiters.push(resolve))
  }

  private run(): void {
    // A turn that was asked for before the end may come after it; the journal takes nothing more then.
    if (this.ended) return
    const journal = this.ports.journal()
    if (this.flight || journal.status !== 'ok' || journal.pendingBytes > MAX_FLUSH_BACKLOG_BYTES) return
    if (this.holding) this.flyUnnumbered(journal)
    else this.flyNumbered(journal)
  }

  private flyNumbered(journal: Journal): void {
    const records = this.dropKnown()
    this.requeueHeld()
    const numbered: NumberedFlight[] = []
    for (const partition of this.ports.partitions.values()) {
      const flush = partition.prepareFlush(DELTA_BYTES)
      if (!flush) continue
      const mark = this.releaseHeld(partition, flush.generation)
      if (mark) records.push(mark)
      const encoded = flush.deltas.map((delta) => ({ delta, bytes: encodeDelta(delta) }))
      for (const { bytes } of encoded) records.push(bytes)
      numbered.push({ partition, flush, encoded })
    }
    if (records.length > 0) this.flight = { position: journal.append(records), numbered, held: [] }
  }

  /** When the generation had been journalled without a number: the record that ends that. */
  private releaseHeld(partition: Partition, generation: Generation): Uint8Array | undefined {
    if (!this.requeued.delete(generation)) return undefined
    const index = this.held.findIndex((held) => held.generation === generation)
    const [released] = this.held.splice(index, 1)
    return encodeMessage(numberedToTuple({ partition: partition.name, records: released!.records.length }))
  }

  /**
   * A backup that was taken while numbering was held contains unnumbered writes that the server went on to
   * number. After it has been put back, peers return them as those of the old replica: they count once.
   */
  private dropKnown(): Uint8Array[] {
    const known = this.held.filter(
      ({ adopted, generation, partition }) =>
        adopted !== undefined && !this.requeued.has(generation) && isNumbered(partition, adopted),
    )
    this.held = this.held.filter((held) => !known.includes(held))
    return known.map(({ generation, partition, records }) => {
      partition.forgetUnnumbered(generation)
      return encodeMessage(numberedToTuple({ partition: partition.name, records: records.length }))
    })
  }

  private requeueHeld(): void {
    const waiting = this.held.filter(({ generation }) => !this.requeued.has(generation))
    for (const partition of new Set(waiting.map((held) => held.partition))) {
      const generations = waiting
        .filter((held) => held.partition === partition)
        .map((held) => held.generation)
      partition.own.requeue(generations)
      for (const generation of generations) this.requeued.add(generation)
    }
  }

  private flyUnnumbered(journal: Journal): void {
    const records: Uint8Array[] = []
    const held: HeldWrites[] = []
    for (const partition of this.ports.partitions.values()) {
      const taken = partition.takeUnnumbered()
      if (!taken) continue
      const mark = this.noteRecord(partition, taken.generation)
      const runs = cutCells(taken.cells, DELTA_BYTES).map((run) => [...run, mark])
      const { replica } = partition.ownReplica
      held.push({ partition, generation: taken.generation, replica, records: runs })
      for (const cells of runs) {
        records.push(encodeMessage(unnumberedToTuple({ partition: partition.name, replica, cells })))
      }
    }
    if (records.length === 0) return
    // From here on a snapshot must carry them: their records are in the segment that it would replace.
    this.held.push(...held)
    this.flight = { position: journal.append(records), numbered: [], held }
  }

  /** Gives the record an id that will be numbered with its writes. */
  private noteRecord(partition: Partition, generation: Generation): Cell {
    const { id, expiresAtMs } = this.ports.nextRecord()
    const { table, own } = partition
    const entry = table.entry(table.namespace(CellKind.unnumberedRecord, ''), id)
    own.note(generation, entry, [expiresAtMs])
    return { kind: CellKind.unnumberedRecord, number: 0, namespace: '', key: id, value: [expiresAtMs] }
  }

  private land(flight: Flight): void {
    for (const partition of this.overloaded) {
      if (partition.own.sealedCount < this.maxSealed) this.overloaded.delete(partition)
    }
    for (const { generation } of flight.held) this.groups.get(generation)?.durable.reach(undefined)
    for (const { partition, flush, encoded } of flight.numbered) {
      partition.completeFlush(flush)
      const { replica, known } = partition.ownReplica
      const group = this.groups.get(flush.generation)
      this.groups.delete(flush.generation)
      this.ports.committed(partition, encoded)
      group?.durable.reach(undefined)
      group?.numbered.reach({ partition: partition.name, replica, number: known })
    }
  }
}

function isNumbered({ table }: Partition, id: string): boolean {
  const entry = table.findNamespace(CellKind.unnumberedRecord, '')?.entries.get(id)
  return entry !== undefined && !table.cellsOf(entry).next().done
}
