import type { DiskLock, Environment } from '../environment/environment.js'
import {
  DiskFullError,
  InvalidArgumentError,
  JournalFailedError,
  NotRunningError,
  type SiloMeshError,
} from '../sync/errors.js'
import { DurabilityWaiters } from './durability-waiters.js'
import { FLAG_CLEAN_STOP } from './frame.js'
import { FullDiskRetry } from './full-disk-retry.js'
import { FrameBuilderPool, Group } from './group.js'
import { GroupQueue } from './group-queue.js'
import { HEADER_BYTES, newMark } from './header.js'
import type { Journal, JournalEvents, JournalStatus, SnapshotWriter } from './journal.js'
import { closeQuietly, SegmentFile } from './segment-file.js'
import { DiskSnapshotWriter } from './snapshot-writer.js'

/** What opening hands over (open-journal.ts). */
export interface DiskJournalParts {
  readonly environment: Pick<Environment, 'disk' | 'scheduler' | 'random'>
  readonly directory: string
  readonly lock: DiskLock
  readonly segment: SegmentFile
  readonly nextSequence: number
  readonly replayBytes: number
  readonly cleanStop: boolean
  readonly events: JournalEvents
}

/** Where a snapshot's replay begins. */
interface SegmentStart {
  readonly number: number
  readonly firstSequence: number
}

/** A wish for a new segment after a position, and who waits for it. */
interface Rotation {
  readonly afterPosition: number
  readonly resolve: (start: SegmentStart) => void
  readonly reject: (error: SiloMeshError) => void
  started: boolean
}

/**
 * The journal on a disk. One loop does all writing to segments, one operation at a time: the next group, or
 * the rotation when its position is reached. Everything else only changes what the loop will find.
 */
export class DiskJournal implements Journal {
  readonly #parts: DiskJournalParts
  readonly #queue = new GroupQueue()
  readonly #waiters = new DurabilityWaiters()
  readonly #retry: FullDiskRetry
  #segment: SegmentFile
  #sequence: number
  #replayBytes: number
  /** Of these, what the open snapshot will replace. */
  #replacedBytes = 0
  #endsCleanly: boolean
  #durable = 0
  #full: DiskFullError | undefined
  #failure: JournalFailedError | undefined
  #loop: Promise<void> | undefined
  #loopScheduled = false
  /** For good: the journal is closed, or its disk failed. What the loop had in hand is not written. */
  #stopped = false
  #rotation: Rotation | undefined
  #snapshotOpen = false
  #opening: Promise<SnapshotWriter> | undefined
  #snapshot: DiskSnapshotWriter | undefined
  #closing: Promise<void> | undefined

  constructor(parts: DiskJournalParts) {
    this.#parts = parts
    this.#segment = parts.segment
    this.#sequence = parts.nextSequence
    this.#replayBytes = parts.replayBytes
    this.#endsCleanly = parts.cleanStop
    this.#retry = new FullDiskRetry(
      parts.environment.scheduler,
      (error) => this.#becomeFull(error),
      () => this.#becomeOk(),
    )
  }

  get status(): JournalStatus {
    if (this.#failure !== undefined) return 'failed'
    return this.#full === undefined ? 'ok' : 'full'
  }

  get appended(): number {
    return this.#queue.appended
  }

  get durable(): number {
    return this.#durable
  }

  get pendingBytes(): number {
    return this.#queue.bytes
  }

  get bytesSinceSnapshot(): number {
    return this.#replayBytes
  }

  append(records: readonly Uint8Array[]): number {
    this.#assertUsable()
    if (records.length > 0) {
      this.#queue.add(records)
      this.#wake()
    }
    return this.#queue.appended
  }

  async whenDurable(position: number): Promise<void> {
    if (position <= this.#durable) return
    this.#assertUsable()
    if (!(position <= this.appended))
      throw new InvalidArgumentError(`position ${position} is beyond the newest, ${this.appended}`)
    return this.#waiters.wait(position)
  }

  async beginSnapshot(): Promise<SnapshotWriter> {
    this.#assertUsable()
    if (this.#snapshotOpen) throw new InvalidArgumentError('a snapshot is being written already')
    if (this.#full !== undefined) throw this.#full
    this.#snapshotOpen = true
    this.#opening = this.#openSnapshot()
    try {
      return await this.#opening
    } catch (error) {
      this.#snapshotOpen = false
      throw error
    } finally {
      this.#opening = undefined
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#shutDown()
    return this.#closing
  }

  async #openSnapshot(): Promise<SnapshotWriter> {
    const start = await this.#rotate()
    this.#assertUsable()
    const { disk, random } = this.#parts.environment
    const snapshot = await DiskSnapshotWriter.create(disk, this.#parts.directory, {
      ...start,
      mark: newMark(random),
      whenJournalDurable: () => this.#whenAllDurable(),
      onEnd: (committed) => this.#endSnapshot(committed),
    })
    this.#snapshot = snapshot
    if (this.#closing !== undefined) await snapshot.abort()
    this.#assertUsable()
    return snapshot
  }

  /** In a later turn, so that everything appended in this one shares one write. */
  #wake(): void {
    if (this.#loopScheduled || this.#loop !== undefined) return
    this.#loopScheduled = true
    this.#parts.environment.scheduler.soon(() => {
      this.#loopScheduled = false
      this.#startLoop()
    })
  }

  #startLoop(): void {
    if (this.#stopped) return
    this.#loop ??= this.#writeAll()
      .catch((error: unknown) => this.#stopWriting(error))
      .finally(() => {
        this.#loop = undefined
        // Something may have been appended between the loop's last look and now.
        if (this.#hasWork()) this.#wake()
      })
  }

  #hasWork(): boolean {
    return !this.#stopped && (this.#queue.bytes > 0 || this.#rotation !== undefined)
  }

  async #writeAll(): Promise<void> {
    for (;;) {
      if (this.#rotation?.afterPosition === this.#durable) {
        await this.#startSegment(this.#rotation)
        continue
      }
      const group = this.#queue.take()
      if (group === undefined) return
      await this.#writeGroup(group)
    }
  }

  async #writeGroup(group: Group): Promise<void> {
    const chunks = group.seal(this.#segment.mark, this.#sequence)
    // The group is kept and tried again while the disk is full: its records are numbered already.
    const bytes = await this.#retry.run(() => this.#segment.append(chunks))
    // Not `+= await`: a snapshot may have been committed meanwhile.
    this.#replayBytes += bytes
    this.#sequence += 1
    this.#endsCleanly = false
    this.#durable = group.endPosition
    this.#queue.done(group)
    this.#parts.events.onDurable?.(this.#durable)
    this.#waiters.resolveUpTo(this.#durable)
  }

  #rotate(): Promise<SegmentStart> {
    this.#queue.cut()
    return new Promise((resolve, reject) => {
      this.#rotation = { afterPosition: this.appended, resolve, reject, started: false }
      this.#wake()
    })
  }

  async #startSegment(rotation: Rotation): Promise<void> {
    const { directory, environment } = this.#parts
    // Once begun it must succeed: a next segment that exists on the disk ends this one for good.
    rotation.started = true
    const options = {
      number: this.#segment.number + 1,
      firstSequence: this.#sequence,
      mark: newMark(environment.random),
    }
    const next = await this.#retry.run(() => SegmentFile.create(environment.disk, directory, options))
    await closeQuietly(this.#segment)
    this.#segment = next
    this.#replacedBytes = this.#replayBytes
    this.#replayBytes += HEADER_BYTES
    this.#endsCleanly = false
    if (this.#rotation === rotation) this.#rotation = undefined
    rotation.resolve(options)
  }

  #becomeFull(error: DiskFullError): void {
    const before = this.status
    this.#full = error
    if (before !== 'ok') return
    this.#parts.events.onStatus?.('full', error)
    this.#rejectWaiting(error)
  }

  #becomeOk(): void {
    if (this.#full === undefined) return
    this.#full = undefined
    this.#parts.events.onStatus?.('ok', undefined)
  }

  /** Only a disk still full at closing, and failures, end the loop early. */
  #stopWriting(error: unknown): void {
    this.#stopped = true
    if (!(error instanceof DiskFullError)) {
      // After a failed sync nobody knows what the file holds: a later success would prove nothing.
      const message = `the journal in ${this.#parts.directory} failed: ${describe(error)}`
      this.#failure = new JournalFailedError(message, { cause: error })
      this.#parts.events.onStatus?.('failed', this.#failure)
    }
    this.#rejectWaiting(this.#failure ?? (error as DiskFullError))
  }

  #rejectWaiting(error: SiloMeshError): void {
    this.#waiters.rejectAll(error)
    this.#rotation?.reject(error)
    if (this.#rotation?.started === false) this.#rotation = undefined
  }

  /** For a snapshot: what it holds must not be newer than what the journal holds. */
  async #whenAllDurable(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#durable === this.appended) return
    if (this.#full !== undefined) throw this.#full
    await this.#waiters.wait(this.appended)
  }

  #endSnapshot(committed: boolean): void {
    if (committed) this.#replayBytes -= this.#replacedBytes
    this.#snapshotOpen = false
    this.#snapshot = undefined
  }

  async #shutDown(): Promise<void> {
    this.#retry.giveUp()
    while (this.#hasWork()) {
      this.#startLoop()
      await this.#loop
    }
    this.#stopped = true
    await this.#opening?.catch(() => undefined)
    await this.#snapshot?.abort()
    await this.#markCleanStop()
    await closeQuietly(this.#segment)
    await this.#parts.lock.release()
    if (this.#durable === this.appended) return
    throw (
      this.#failure ?? this.#full ?? new JournalFailedError('the journal was closed before its last write')
    )
  }

  /** Best effort: everything is durable without it. */
  async #markCleanStop(): Promise<void> {
    if (this.#endsCleanly || this.#failure !== undefined || this.#durable < this.appended) return
    // A next segment that was begun in vain may exist on the disk; nothing may follow here then.
    if (this.#rotation !== undefined) return
    const stop = new Group(new FrameBuilderPool())
    await this.#segment
      .append(stop.seal(this.#segment.mark, this.#sequence, FLAG_CLEAN_STOP))
      .catch(() => undefined)
  }

  #assertUsable(): void {
    if (this.#closing !== undefined) throw new NotRunningError('the journal is closed')
    if (this.#failure !== undefined) throw this.#failure
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
