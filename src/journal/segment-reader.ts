import { JournalDamagedError } from '../sync/errors.js'
import type { FileWindow } from './file-window.js'
import { FLAG_CLEAN_STOP, FLAG_GROUP_END, type Frame } from './frame.js'
import { HEADER_BYTES } from './header.js'
import { readHeader } from './read-header.js'
import type { Replayer } from './replayer.js'

export interface ExpectedSegment {
  readonly number: number
  /** Sequence of the group that it must begin with. */
  readonly sequence: number
  /** Only the last segment may end in an unfinished write: a later one is begun after all before is durable. */
  readonly isLast: boolean
}

export interface SegmentEnd {
  /** 0 when the header was not finished. */
  readonly mark: number
  readonly nextSequence: number
  readonly goodBytes: number
  /** The file without the zeros at its end: what lies between the good bytes and here was left by a crash. */
  readonly dataBytes: number
  readonly cleanStop: boolean
}

/**
 * Replays a segment, whole groups only.
 *
 * Crash or damage? At most one group was being written, so after a bad frame of group g a crash explains
 * nothing but other pieces of g. A valid frame of g + 1 or later means that g had been durable: damage.
 * A bad frame with nothing valid after it is taken for the crash. Zeros up to the end of the file are no frame at
 * all, but what the file had reserved. (Damage to the very last group of a
 * journal that was not closed properly cannot be told from a crash; after a proper stop it can, because the
 * stop is a group of its own.)
 */
export async function readSegment(
  path: string,
  file: FileWindow,
  expected: ExpectedSegment,
  replayer: Replayer,
): Promise<SegmentEnd> {
  const parsed = await readHeader(path, 'segment', file)
  if (parsed.kind === 'invalid') {
    // The header is durable before the first frame is written, so a crash leaves nothing behind it.
    if (!expected.isLast || file.size > HEADER_BYTES)
      throw new JournalDamagedError(path, 0, 'the file header is invalid')
    return { mark: 0, nextSequence: expected.sequence, goodBytes: 0, dataBytes: file.size, cleanStop: false }
  }
  const { header } = parsed
  if (header.number !== expected.number)
    throw new JournalDamagedError(path, 16, `the header says segment ${header.number}`)
  if (header.firstSequence !== expected.sequence) {
    const detail = `it begins with group ${header.firstSequence}, but what precedes it ends before group ${expected.sequence}`
    throw new JournalDamagedError(path, 24, detail)
  }
  const end = await new GroupReader(path, file, header.mark, expected, replayer).readAll()
  return { ...end, mark: header.mark }
}

class GroupReader {
  readonly #path: string
  readonly #file: FileWindow
  readonly #mark: number
  readonly #isLast: boolean
  readonly #replayer: Replayer
  /** Frames of the group that has begun and not ended. */
  #parts: Uint8Array[] = []
  #sequence: number
  #goodBytes = HEADER_BYTES
  #dataBytes: number
  #cleanStop = false

  constructor(path: string, file: FileWindow, mark: number, expected: ExpectedSegment, replayer: Replayer) {
    this.#path = path
    this.#file = file
    this.#mark = mark
    this.#isLast = expected.isLast
    this.#sequence = expected.sequence
    this.#replayer = replayer
    this.#dataBytes = file.size
  }

  async readAll(): Promise<Omit<SegmentEnd, 'mark'>> {
    let offset = HEADER_BYTES
    while (offset < this.#file.size) {
      const frame = await this.#file.frameAt(offset, this.#mark)
      if (frame === undefined) {
        this.#dataBytes = await this.#file.endOfData(offset)
        if (this.#dataBytes > offset) await this.#assertTorn(offset)
        break
      }
      this.#assertInOrder(frame, offset)
      this.#parts.push(frame.payload)
      offset += frame.length
      if ((frame.flags & FLAG_GROUP_END) !== 0) await this.#endGroup(frame, offset)
    }
    if (this.#parts.length > 0 && !this.#isLast)
      throw this.#damaged(offset, `the segment ends within group ${this.#sequence}`)
    return {
      nextSequence: this.#sequence,
      goodBytes: this.#goodBytes,
      dataBytes: this.#dataBytes,
      cleanStop: this.#cleanStop && this.#goodBytes === this.#dataBytes,
    }
  }

  async #endGroup(frame: Frame, end: number): Promise<void> {
    for (const payload of this.#parts) {
      if (await this.#replayer.take(payload)) continue
      throw this.#damaged(this.#goodBytes, 'the lengths of its records do not add up')
    }
    this.#parts = []
    this.#sequence += 1
    this.#goodBytes = end
    this.#cleanStop = (frame.flags & FLAG_CLEAN_STOP) !== 0
  }

  #assertInOrder(frame: Frame, offset: number): void {
    if (frame.sequence === this.#sequence && frame.part === this.#parts.length) return
    const found = `group ${frame.sequence} part ${frame.part}`
    throw this.#damaged(
      offset,
      `found ${found} instead of group ${this.#sequence} part ${this.#parts.length}`,
    )
  }

  async #assertTorn(offset: number): Promise<void> {
    if (!this.#isLast) throw this.#damaged(offset, 'a frame fails its checksum')
    const isLater = (frame: Frame) => frame.sequence > this.#sequence
    const later = await this.#file.findFrame(offset, this.#mark, isLater)
    if (later === undefined) return
    throw this.#damaged(offset, `a frame fails its checksum, and a later write is intact at byte ${later}`)
  }

  #damaged(offset: number, detail: string): JournalDamagedError {
    return new JournalDamagedError(this.#path, offset, detail)
  }
}
