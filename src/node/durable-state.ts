import type { Partition } from '../crdt/partition.js'
import type { Environment } from '../environment/environment.js'
import { uuidV7, uuidV7Ms } from '../environment/uuid.js'
import {
  type Journal,
  type JournalEvents,
  type JournalStatus,
  MAX_PENDING_BYTES,
} from '../journal/journal.js'
import { MemoryJournal } from '../journal/memory-journal.js'
import { openJournal } from '../journal/open-journal.js'
import { Ledger } from '../ledger/ledger.js'
import { RaftDisk } from '../strong/raft-disk.js'
import {
  DiskFullError,
  JournalFailedError,
  NotRunningError,
  OverloadedError,
  type SiloMeshError,
} from '../sync/errors.js'
import { incarnationOfReplica, type ReplicaId, replicaId, serverOfReplica } from '../sync/identity.js'
import type { Logger } from '../sync/logger.js'
import { encodeMessage } from '../wire/encode.js'
import { Committer, type EncodedDelta } from './committer.js'
import type { NodeConfig } from './config.js'
import { type Incarnation, incarnationToTuple } from './journal-records.js'
import { OperationRecorder } from './operation-recorder.js'
import { Partitions, partitionOfWorld } from './partitions.js'
import { Replay } from './replay.js'
import { SNAPSHOT_MIN_BYTES, writeSnapshot } from './snapshotter.js'
import type { WriteGroup } from './write-group.js'

/** A backup older than this is no longer recognised as holding writes that were numbered since. */
const BACKUP_AGE_MS = 30 * 24 * 60 * 60 * 1000

export interface DurableStateOwner {
  entryChanged(partition: Partition, entry: number): void
  /** Own writes may leave the server now. */
  committed(partition: Partition, deltas: readonly EncodedDelta[]): void
  /** Everything journalled up to this position survives a crash. */
  durable(position: number): void
  journalStatus(status: JournalStatus, error: SiloMeshError | undefined): void
}

/**
 * The state of this server and its journal: replayed at the start, written by group commit, shortened by
 * snapshots. Owns the incarnation under which this server writes.
 */
export class DurableState {
  readonly partitions: Partitions
  readonly committer: Committer
  /** This server's part in the Raft group, as the journal has it. */
  readonly raftDisk = new RaftDisk()
  /** Undefined: no ledger is kept. */
  ledger: Ledger | undefined
  recorder: OperationRecorder | undefined
  private journal: Journal | undefined
  private current: Incarnation | undefined
  private journalError: SiloMeshError | undefined
  private stopped = false
  private lastSnapshotBytes = 0
  private snapshotting: Promise<void> | undefined

  private owner: DurableStateOwner | undefined

  private constructor(
    private readonly config: NodeConfig,
    private readonly environment: Environment,
  ) {
    this.partitions = new Partitions((partition, entry) => this.owner?.entryChanged(partition, entry))
    this.committer = new Committer({
      journal: () => this.openJournal,
      partitions: this.partitions.byName,
      soon: (task) => environment.scheduler.soon(task),
      nextRecord: () => ({
        id: uuidV7(environment),
        expiresAtMs: Math.floor(environment.clock.wallMs()) + BACKUP_AGE_MS,
      }),
      committed: (partition, deltas) => this.owner?.committed(partition, deltas),
    })
  }

  /** @throws DirectoryInUseError, JournalDamagedError, DiskError */
  static async open(config: NodeConfig, environment: Environment): Promise<DurableState> {
    const state = new DurableState(config, environment)
    await state.recover()
    return state
  }

  /** Who hears of changes from now on; what the replay did is there to be read. */
  serve(owner: DurableStateOwner): void {
    this.owner = owner
  }

  get incarnation(): Incarnation {
    return this.current!
  }

  get journalStatus(): JournalStatus {
    return this.openJournal.status
  }

  /** @throws NotRunningError, DiskFullError, JournalFailedError */
  requireWritable(): void {
    if (this.stopped) throw new NotRunningError('the node has stopped')
    if (this.journalError) throw this.journalError
    if (this.committer.isOverloaded) {
      throw new OverloadedError('writes are too far ahead of the journal; give it a moment')
    }
  }

  groupOf(partition: Partition): WriteGroup {
    return this.committer.groupOf(partition)
  }

  /** Those of writes that no flush has taken yet. */
  openGroups(): WriteGroup[] {
    return [...this.partitions.byName.values()]
      .filter(({ own }) => !own.isEmpty)
      .map((partition) => this.groupOf(partition))
  }

  /** Journals records of the Raft group; returns the position at which they are durable. */
  append(records: readonly Uint8Array[]): number {
    return this.openJournal.append(records)
  }

  whenDurable(position: number): Promise<void> {
    return this.openJournal.whenDurable(position)
  }

  /** Journals a delta from a peer as it came; undefined when the journal takes no more for now. */
  store(delta: Uint8Array): number | undefined {
    if (this.stopped || this.openJournal.status !== 'ok') return undefined
    try {
      return this.openJournal.append([delta])
    } catch (error) {
      if (error instanceof OverloadedError || error instanceof JournalFailedError) return undefined
      throw error
    }
  }

  /** Whether the journal has room for a good deal more. */
  canStore(): boolean {
    const { status, pendingBytes } = this.openJournal
    return !this.stopped && status === 'ok' && pendingBytes <= MAX_PENDING_BYTES / 2
  }

  /**
   * From now on this server writes as a new replica (invariant I1): a peer knew writes of the old one that are
   * gone here. Waits for a flush under way; writes that are not numbered yet become the new replica's.
   */
  async takeNewIncarnation(): Promise<Incarnation> {
    await this.committer.whenLanded()
    this.requireWritable()
    this.current = { replica: this.freshReplica(), starts: 1 }
    this.openJournal.append([encodeMessage(incarnationToTuple(this.current))])
    for (const partition of this.partitions.byName.values()) partition.writeAs(this.current.replica)
    return this.current
  }

  /** Flushes and closes. @throws DiskFullError, JournalFailedError when the last writes could not be made durable */
  async close(): Promise<void> {
    if (!this.stopped) {
      this.stopped = true
      if (this.openJournal.status === 'ok') await this.committer.whenIdle()
      this.committer.failed(new NotRunningError('the node stopped before this write was durable'), true)
    }
    await this.snapshotting
    // While the directory is this server's: the journal gives it up.
    await this.ledger?.close()
    await this.openJournal.close()
  }

  private get openJournal(): Journal {
    return this.journal!
  }

  private get logger(): Logger {
    return this.config.logger
  }

  private async recover(): Promise<void> {
    const replay = new Replay(
      (name) => this.partitions.host(name),
      (type, tuple) => this.raftDisk.replay(type, tuple),
    )
    const events: JournalEvents = {
      onDurable: (position) => this.onDurable(position),
      onStatus: (status, error) => this.onStatus(status, error),
    }
    const { dataDir } = this.config
    if (dataDir === undefined) {
      this.journal = new MemoryJournal(this.environment.scheduler, events)
    } else {
      const opened = await openJournal({
        ...events,
        environment: this.environment,
        directory: dataDir,
        replay: (records) => {
          for (const record of records) replay.take(record)
        },
      })
      this.journal = opened.journal
      const { tornBytes, tornFile } = opened.recovery
      if (tornBytes > 0) this.logger.warn({ tornBytes, tornFile }, 'an unfinished last write was dropped')
      this.logger.info({ ...opened.recovery }, 'journal replayed')
    }
    await this.openLedger()
    this.begin(replay)
  }

  /** Once the directory belongs to this process. */
  private async openLedger(): Promise<void> {
    const { environment, logger } = this
    const { dataDir: directory, ledger: settings } = this.config
    if (!settings) return
    try {
      this.ledger = await Ledger.open({ ...settings, environment, directory, logger })
    } catch (error) {
      await this.openJournal.close()
      throw error
    }
    this.recorder = new OperationRecorder(this.ledger, environment.clock)
  }

  private begin(replay: Replay): void {
    void this.partitions.shared
    for (const world of this.config.worlds) this.partitions.host(partitionOfWorld(world))
    const before = replay.incarnation
    this.current = before
      ? { ...before, starts: before.starts + 1 }
      : { replica: this.freshReplica(), starts: 1 }
    this.openJournal.append([encodeMessage(incarnationToTuple(this.current))])
    for (const partition of this.partitions.byName.values()) partition.writeAs(this.current.replica)
    this.committer.adoptUnnumbered(replay.unnumberedWrites())
    // Whoever was here before may have lost writes since, even all of them; its peers would know (invariant I2).
    if (before) this.committer.holdNumbering()
    else this.committer.openNumbering()
  }

  /** Later than every incarnation of this server that is known here, whatever the clock says. */
  private freshReplica(): ReplicaId {
    let afterMs = 0
    for (const partition of this.partitions.byName.values()) {
      for (const { replica } of partition.replicas()) {
        if (serverOfReplica(replica) === this.config.serverId)
          afterMs = Math.max(afterMs, uuidV7Ms(incarnationOfReplica(replica)) + 1)
      }
    }
    return replicaId(this.config.serverId, uuidV7(this.environment, afterMs).replaceAll('-', ''))
  }

  private onDurable(position: number): void {
    this.committer.durable(position)
    this.owner?.durable(position)
    this.considerSnapshot()
  }

  private onStatus(status: JournalStatus, error: SiloMeshError | undefined): void {
    this.journalError = error ?? (status === 'full' ? new DiskFullError('the disk is full') : undefined)
    if (status === 'ok') this.journalError = undefined
    if (this.journalError) {
      this.logger.error({ status, error }, 'the journal takes no writes')
      this.committer.failed(this.journalError, status === 'failed')
    } else {
      this.logger.info({}, 'the journal takes writes again')
      this.committer.schedule()
    }
    this.owner?.journalStatus(status, error)
  }

  private considerSnapshot(): void {
    const due = Math.max(SNAPSHOT_MIN_BYTES, 2 * this.lastSnapshotBytes)
    if (this.snapshotting || this.stopped || this.openJournal.bytesSinceSnapshot < due) return
    this.snapshotting = this.snapshot().finally(() => {
      this.snapshotting = undefined
    })
  }

  private async snapshot(): Promise<void> {
    try {
      this.lastSnapshotBytes = await writeSnapshot({
        journal: this.openJournal,
        partitions: this.partitions.byName,
        incarnation: () => this.incarnation,
        unnumberedWrites: () => this.committer.unnumberedWrites(),
        raftRecords: () => this.raftDisk.records(),
        soon: (task) => this.environment.scheduler.soon(task),
      })
      this.logger.info({ bytes: this.lastSnapshotBytes }, 'snapshot written')
    } catch (error) {
      // The journal still has everything; the next group commit tries again.
      this.logger.warn({ error }, 'snapshot failed')
    }
  }
}
