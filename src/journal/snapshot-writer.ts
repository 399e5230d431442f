import type { AppendFile, Disk } from '../environment/environment.js'
import { InvalidArgumentError } from '../sync/errors.js'
import { classifyNames, segmentName, snapshotName, unfinishedSnapshotName } from './file-names.js'
import { FLAG_GROUP_END, FLAG_SNAPSHOT_END, FrameBuilder } from './frame.js'
import { checkedBytes } from './group-queue.js'
import { encodeHeader } from './header.js'
import type { SnapshotWriter } from './journal.js'
import { closeQuietly } from './segment-file.js'
import { encodeTrailer } from './snapshot-reader.js'

/**
 * Written between two syncs. One sync of a whole snapshot at its end would make the journal's own small
 * syncs wait behind it for as long as the disk needs for all of it.
 */
const SNAPSHOT_SYNC_BYTES = 4 * 1024 * 1024

export interface SnapshotOptions {
  /** Segment to replay after the snapshot, and the group that it begins with. */
  readonly number: number
  readonly firstSequence: number
  readonly mark: number
  /** Resolves when everything appended to the journal so far is durable. */
  readonly whenJournalDurable: () => Promise<void>
  readonly onEnd: (committed: boolean) => void
}

/** A snapshot on a disk; frames are numbered from 1, one frame a group (frame.ts). */
export class DiskSnapshotWriter implements SnapshotWriter {
  readonly #disk: Disk
  readonly #directory: string
  readonly #file: AppendFile
  readonly #options: SnapshotOptions
  readonly #builder = new FrameBuilder()
  #sequence = 1
  #records = 0
  #unsyncedBytes = 0
  /** The call that is under way. */
  #operation: Promise<void> | undefined
  #aborting = false
  /** Why nothing more can be done with it. */
  #ended: unknown
  #discarded: Promise<void> | undefined

  private constructor(disk: Disk, directory: string, file: AppendFile, options: SnapshotOptions) {
    this.#disk = disk
    this.#directory = directory
    this.#file = file
    this.#options = options
  }

  static async create(disk: Disk, directory: string, options: SnapshotOptions): Promise<DiskSnapshotWriter> {
    const path = `${directory}/${unfinishedSnapshotName(options.number)}`
    const file = await disk.openAppend(path)
    try {
      if (file.size > 0) await file.truncate(0)
      await file.append([encodeHeader('snapshot', options)], { durable: false })
    } catch (error) {
      await closeQuietly(file)
      await disk.remove(path).catch(() => undefined)
      throw error
    }
    return new DiskSnapshotWriter(disk, directory, file, options)
  }

  async write(records: readonly Uint8Array[]): Promise<void> {
    checkedBytes(records)
    await this.#exclusively(() => this.#addAll(records))
  }

  async commit(): Promise<void> {
    await this.#exclusively(() => this.#finish())
  }

  async abort(): Promise<void> {
    this.#aborting = true
    // Its own caller hears of its failure.
    await this.#operation?.catch(() => undefined)
    if (this.#ended === undefined) this.#discard(new InvalidArgumentError('the snapshot was aborted'))
    await this.#discarded
  }

  async #exclusively(work: () => Promise<void>): Promise<void> {
    if (this.#ended !== undefined) throw this.#ended
    if (this.#operation !== undefined)
      throw new InvalidArgumentError('the last call on this snapshot has not finished; await it')
    this.#operation = work()
    try {
      await this.#operation
    } catch (error) {
      if (this.#ended === undefined) this.#discard(error)
      await this.#discarded
      throw error
    } finally {
      this.#operation = undefined
    }
  }

  async #addAll(records: readonly Uint8Array[]): Promise<void> {
    for (const record of records) {
      if (!this.#builder.fits(record)) await this.#writeFrame(FLAG_GROUP_END)
      this.#builder.add(record)
      this.#records += 1
    }
  }

  async #writeFrame(flags: number): Promise<void> {
    if (this.#aborting) throw new InvalidArgumentError('the snapshot was aborted')
    const frame = this.#builder.seal(this.#options.mark, { flags, part: 0, sequence: this.#sequence })
    const last = (flags & FLAG_SNAPSHOT_END) !== 0
    this.#unsyncedBytes += frame.length
    const durable = last || this.#unsyncedBytes >= SNAPSHOT_SYNC_BYTES
    await this.#file.append([frame], { durable })
    if (durable) this.#unsyncedBytes = 0
    this.#sequence += 1
    this.#builder.reset()
  }

  async #finish(): Promise<void> {
    // The position is taken first: the state was read before this call, so nothing in it is newer.
    const journalDurable = this.#options.whenJournalDurable()
    // It is awaited below; until then a rejection has no other owner.
    journalDurable.catch(() => undefined)
    if (!this.#builder.empty) await this.#writeFrame(FLAG_GROUP_END)
    this.#builder.addRaw(encodeTrailer(this.#records))
    await this.#writeFrame(FLAG_GROUP_END | FLAG_SNAPSHOT_END)
    await journalDurable
    await this.#publish()
  }

  async #publish(): Promise<void> {
    const { number, onEnd } = this.#options
    await this.#file.close()
    const path = `${this.#directory}/${snapshotName(number)}`
    await this.#disk.rename(`${this.#directory}/${unfinishedSnapshotName(number)}`, path)
    await this.#disk.syncDirectory(this.#directory)
    this.#ended = new InvalidArgumentError('the snapshot was committed')
    // What cannot be removed now is harmless and goes with the next snapshot or at the next start.
    await removeReplaced(this.#disk, this.#directory, number).catch(() => undefined)
    onEnd(true)
  }

  #discard(reason: unknown): void {
    this.#ended = reason
    this.#discarded = this.#removeUnfinished()
  }

  async #removeUnfinished(): Promise<void> {
    await closeQuietly(this.#file)
    const path = `${this.#directory}/${unfinishedSnapshotName(this.#options.number)}`
    await this.#disk.remove(path).catch(() => undefined)
    this.#options.onEnd(false)
  }
}

/** Removes what snapshot `number`, which must be durable under its name, replaces. */
export async function removeReplaced(disk: Disk, directory: string, number: number): Promise<void> {
  const contents = classifyNames(await disk.list(directory))
  const names = [
    ...contents.segments.filter((segment) => segment < number).map(segmentName),
    ...contents.snapshots.filter((snapshot) => snapshot < number).map(snapshotName),
    ...contents.unfinishedSnapshots,
  ]
  for (const name of names) await disk.remove(`${directory}/${name}`)
}
