import type { AppendFile, Clock, Disk } from '../environment/environment.js'
import { encodeBlock } from './codec.js'
import { type LedgerEntry, type LedgerFilter, passes } from './entry.js'
import { frameOf } from './frame.js'
import { SegmentCursor } from './segment-cursor.js'
import { SegmentDigest } from './segment-digest.js'
import {
  CLEAN_STOP,
  endsCleanly,
  listSegments,
  type Segment,
  segmentHeader,
  segmentPath,
} from './segments.js'
import type { LedgerCursor, LedgerStore } from './store.js'

export interface FileStoreOptions {
  readonly disk: Disk
  readonly clock: Clock
  readonly directory: string
  /** Files whose entries are all older are removed. */
  readonly retentionMs: number
  /** About the most bytes of all files; the oldest are removed. */
  readonly maxBytes: number
}

/** A file is ended at this size, or sooner where `maxBytes` is small. */
export const MAX_SEGMENT_BYTES = 4 * 1024 * 1024
/** Files at once, whatever their size: each start begins a new one. */
export const MAX_SEGMENTS = 1_000
/** So many files share `maxBytes`, so that removing one removes little. */
const SEGMENTS_IN_MAX_BYTES = 8

interface Written {
  readonly number: number
  readonly createdMs: number
  bytes: number
}

/** The ledger in files of its own in the data directory. Each start begins a new one: nothing is ever changed. */
export class FileStore implements LedgerStore {
  private current: AppendFile | undefined
  private hasWritten = false
  /** By number: of what this process has written or read to its end. */
  private readonly digests = new Map<number, SegmentDigest>()

  private constructor(
    private readonly options: FileStoreOptions,
    private readonly segments: Written[],
    /** The process before this one did not come to close it. */
    readonly endedInCrash: boolean,
  ) {}

  /** @throws DiskError */
  static async open(options: FileStoreOptions): Promise<FileStore> {
    const { disk, directory } = options
    const segments = await listSegments(disk, directory)
    const last = segments.at(-1)
    const endedInCrash = last !== undefined && !(await endsCleanly(disk, directory, last))
    const store = new FileStore(options, segments, endedInCrash)
    await store.removeOld()
    return store
  }

  async append(entries: readonly LedgerEntry[], { durable }: { durable: boolean }): Promise<void> {
    await this.write(frameOf(encodeBlock(entries)), durable, entries)
  }

  async sync(): Promise<void> {
    await this.current?.append([], { durable: true })
  }

  oldest(): LedgerCursor {
    return this.cursor(this.all)
  }

  async newest(limit: number, filter: LedgerFilter) {
    const { directory, disk } = this.options
    const cursor = SegmentCursor.atEnd(disk, directory, this.all)
    const entries = await newestEntries(disk, directory, this.segments, limit, filter, this.digests)
    // Meanwhile some may have been removed.
    const oldest = this.segments[0]?.number ?? 0
    for (const number of this.digests.keys()) if (number < oldest) this.digests.delete(number)
    return { entries, cursor }
  }

  async close(): Promise<void> {
    // What an earlier process has closed stays closed.
    if (!this.hasWritten) return
    await this.write(CLEAN_STOP, true, [])
    await this.current?.close()
    this.current = undefined
  }

  private readonly all = (): readonly Segment[] => this.segments

  private cursor(segments: () => readonly Segment[]): LedgerCursor {
    return new SegmentCursor(this.options.disk, this.options.directory, segments)
  }

  private async write(frame: Uint8Array, durable: boolean, entries: readonly LedgerEntry[]): Promise<void> {
    const file = this.current ?? (await this.begin())
    const segment = this.segments.at(-1)!
    // Before: whoever reads what is written must not be told that it is not there.
    const digest = this.digests.get(segment.number)
    for (const entry of entries) digest?.add(entry)
    try {
      await file.append([frame], { durable })
    } catch (error) {
      await this.takeBack(file, segment.bytes)
      throw error
    }
    this.hasWritten = true
    segment.bytes += frame.length
    if (segment.bytes < this.segmentBytes) return
    if (!durable) await this.sync()
    this.current = undefined
    await file.close()
    await this.removeOld()
  }

  /** Whatever of a frame has been written must not stay, for the next one follows the last good one. */
  private async takeBack(file: AppendFile, bytes: number): Promise<void> {
    try {
      await file.truncate(bytes)
    } catch {
      // Then the next entries go into a file of their own.
      this.current = undefined
      await file.close().catch(() => undefined)
    }
  }

  private async begin(): Promise<AppendFile> {
    const { clock, disk, directory } = this.options
    const number = (this.segments.at(-1)?.number ?? 0) + 1
    const createdMs = clock.wallMs()
    const header = segmentHeader(createdMs)
    const file = await disk.openAppend(segmentPath(directory, number))
    // What an earlier try has left there.
    if (file.size > 0) await file.truncate(0)
    try {
      await file.append([header], { durable: true })
      await disk.syncDirectory(directory)
    } catch (error) {
      await file.close().catch(() => undefined)
      throw error
    }
    this.segments.push({ number, createdMs, bytes: header.length })
    this.digests.set(number, new SegmentDigest())
    this.current = file
    return file
  }

  private get segmentBytes(): number {
    return Math.min(MAX_SEGMENT_BYTES, this.options.maxBytes / SEGMENTS_IN_MAX_BYTES)
  }

  private async removeOld(): Promise<void> {
    const { clock, directory, disk, maxBytes, retentionMs } = this.options
    let total = this.segments.reduce((sum, { bytes }) => sum + bytes, 0)
    const beforeMs = clock.wallMs() - retentionMs
    while (this.segments.length > 1) {
      const [oldest, following] = this.segments as [Written, Written]
      // All in it is older than the beginning of the one that follows.
      const isOld = following.createdMs > 0 && following.createdMs < beforeMs
      if (!isOld && total <= maxBytes && this.segments.length <= MAX_SEGMENTS) return
      await disk.remove(segmentPath(directory, oldest.number))
      this.segments.shift()
      this.digests.delete(oldest.number)
      total -= oldest.bytes
    }
  }
}

/** Reads the ledger of a server that is not running. @throws DiskError */
export async function readLedger(
  disk: Disk,
  directory: string,
  limit: number | undefined,
  filter: LedgerFilter,
): Promise<AsyncIterable<LedgerEntry>> {
  const segments = await listSegments(disk, directory)
  if (limit !== undefined) return asyncOf(await newestEntries(disk, directory, segments, limit, filter))
  return wantedOf(entriesOf(new SegmentCursor(disk, directory, () => segments)), filter)
}

/**
 * The last entries that pass, oldest first; reads no further back than it must, and no file of which a digest says
 * that it holds none. A file that is read to its end has a digest from then on.
 */
async function newestEntries(
  disk: Disk,
  directory: string,
  segments: readonly Segment[],
  limit: number,
  filter: LedgerFilter,
  digests = new Map<number, SegmentDigest>(),
): Promise<LedgerEntry[]> {
  let newest: LedgerEntry[] = []
  for (const segment of segments.map((each) => ({ ...each })).reverse()) {
    if (newest.length >= limit) break
    const { number } = segment
    const known = digests.get(number)
    if (known?.mayHold(filter) === false) continue
    const digest = known ?? new SegmentDigest()
    let found: LedgerEntry[] = []
    for await (const entry of entriesOf(new SegmentCursor(disk, directory, () => [segment], number))) {
      if (!known) digest.add(entry)
      if (!passes(entry, filter)) continue
      found.push(entry)
      if (found.length > 2 * limit) found = found.slice(-limit)
    }
    // One without a digest is from an earlier process: it grows no more.
    digests.set(number, digest)
    newest = [...found, ...newest].slice(-limit)
  }
  return newest
}

async function* entriesOf(cursor: LedgerCursor): AsyncGenerator<LedgerEntry> {
  for (let batch = await cursor.next(); batch !== undefined; batch = await cursor.next()) yield* batch
}

async function* wantedOf(
  entries: AsyncIterable<LedgerEntry>,
  filter: LedgerFilter,
): AsyncGenerator<LedgerEntry> {
  for await (const entry of entries) if (passes(entry, filter)) yield entry
}

async function* asyncOf<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values
}
