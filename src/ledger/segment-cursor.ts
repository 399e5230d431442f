import type { Disk } from '../environment/environment.js'
import { FileNotFoundError, FrameError } from '../sync/errors.js'
import { decodeBlock } from './codec.js'
import type { LedgerEntry, LedgerGap } from './entry.js'
import { FIRST_BYTE, FRAME_OVERHEAD_BYTES, frameAt, MAX_BLOCK_BYTES } from './frame.js'
import { HEADER_BYTES, type Segment, segmentPath } from './segments.js'
import type { LedgerCursor } from './store.js'

/** Read at once: any whole frame fits. */
const READ_BYTES = 2 * (FRAME_OVERHEAD_BYTES + MAX_BLOCK_BYTES)

/** Reads segments one after the other, and goes on as they grow. Each position is read once. */
export class SegmentCursor implements LedgerCursor {
  private offset = HEADER_BYTES
  private chunk: Uint8Array = new Uint8Array(0)
  private chunkStart = 0
  /** It has read all that there was. */
  private isAtEnd = false

  /** `segments`: what there is now, ascending, with the bytes that may be read. */
  constructor(
    private readonly disk: Disk,
    private readonly directory: string,
    private readonly segments: () => readonly Segment[],
    private number = 0,
  ) {}

  /** Stands behind everything there is now. */
  static atEnd(disk: Disk, directory: string, segments: () => readonly Segment[]): SegmentCursor {
    const last = segments().at(-1)
    const cursor = new SegmentCursor(disk, directory, segments, last?.number)
    if (last) cursor.offset = Math.max(HEADER_BYTES, last.bytes)
    return cursor
  }

  async next(): Promise<readonly LedgerEntry[] | undefined> {
    for (;;) {
      const all = this.segments()
      const segment = all.find(({ number }) => number >= this.number)
      if (!segment) return undefined
      if (segment.number !== this.number) {
        // What it stood in has been removed meanwhile, unless it had been read to its end.
        const hasLost = this.number > 0 && !this.isAtEnd
        this.begin(segment.number)
        if (hasLost) return [gap('removed', segment.createdMs)]
      }
      if (this.offset >= segment.bytes) {
        this.isAtEnd = true
        const following = all.find(({ number }) => number > this.number)
        if (!following) return undefined
        this.begin(following.number)
        continue
      }
      this.isAtEnd = false
      const entries = await this.read(segment)
      if (entries.length > 0) return entries
    }
  }

  private begin(number: number): void {
    this.number = number
    this.offset = HEADER_BYTES
    this.chunk = new Uint8Array(0)
    this.chunkStart = 0
    this.isAtEnd = false
  }

  /** One block, or what can be said of a part that is none. */
  private async read(segment: Segment): Promise<readonly LedgerEntry[]> {
    if (!(await this.fill(segment, false))) return this.skipRemoved(segment)
    let found = frameAt(this.chunk, this.offset - this.chunkStart)
    if (found === 'short' && (await this.fill(segment, true)))
      found = frameAt(this.chunk, this.offset - this.chunkStart)
    if (typeof found === 'object') {
      this.offset += found.length
      try {
        return decodeBlock(found.payload)
      } catch (error) {
        if (!(error instanceof FrameError)) throw error
        return [gap('damage', segment.createdMs)]
      }
    }
    return (await this.skip(segment)) || found === 'damaged' ? [gap('damage', segment.createdMs)] : []
  }

  /** Looks for the next whole frame. False, and it stands at the end, when there is none. */
  private async skip(segment: Segment): Promise<boolean> {
    this.offset += 1
    while (this.offset < segment.bytes && (await this.fill(segment, false))) {
      const at = this.chunk.indexOf(FIRST_BYTE, this.offset - this.chunkStart)
      if (at < 0) {
        this.offset = this.chunkStart + this.chunk.length
        continue
      }
      this.offset = this.chunkStart + at
      let found = frameAt(this.chunk, at)
      if (found === 'short' && (await this.fill(segment, true))) found = frameAt(this.chunk, 0)
      if (typeof found === 'object') return true
      this.offset += 1
    }
    this.offset = segment.bytes
    return false
  }

  /** Has bytes at `offset`; with `anew` as many as a frame may need. False when the file is gone. */
  private async fill(segment: Segment, anew: boolean): Promise<boolean> {
    const isHere = this.offset < this.chunkStart + this.chunk.length
    if (isHere && !anew) return true
    let file: Awaited<ReturnType<Disk['openRead']>>
    try {
      file = await this.disk.openRead(segmentPath(this.directory, segment.number))
    } catch (error) {
      if (error instanceof FileNotFoundError) return false
      throw error
    }
    try {
      const length = Math.min(READ_BYTES, segment.bytes - this.offset)
      this.chunk = await file.read(this.offset, length)
      this.chunkStart = this.offset
    } finally {
      await file.close()
    }
    return this.chunk.length > 0
  }

  private skipRemoved({ number, createdMs }: Segment): readonly LedgerEntry[] {
    this.begin(number + 1)
    return [gap('removed', createdMs)]
  }
}

function gap(reason: LedgerGap['reason'], timeMs: number): LedgerGap {
  return { type: 'gap', timeMs, reason, missing: undefined }
}
