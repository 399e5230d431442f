import type { AppendFile, Disk } from '../environment/environment.js'
import { DiskFullError } from '../sync/errors.js'
import { segmentName } from './file-names.js'
import { encodeHeader, HEADER_BYTES } from './header.js'

/**
 * Zeros kept behind the last group of the segment (`AppendFile.reserve`): what a busy server writes in a second, and
 * a few milliseconds' work to make.
 */
export const RESERVED_BYTES = 1024 * 1024
/** A group above this is written for its bytes, not for its file's length: it would only be written twice. */
const RESERVE_BELOW_GROUP_BYTES = 64 * 1024

/** The segment that is being written. */
export class SegmentFile {
  readonly number: number
  readonly mark: number
  readonly #file: AppendFile
  /** Up to the end of the last group that is durable. */
  #goodBytes: number
  /** The file may hold a piece of a failed write behind `#goodBytes`. */
  #dirty = false

  private constructor(file: AppendFile, number: number, mark: number, goodBytes: number) {
    this.#file = file
    this.number = number
    this.mark = mark
    this.#goodBytes = goodBytes
    file.reserve(RESERVED_BYTES)
  }

  /** Header and directory entry are durable before the first frame is written. Also redoes a torn creation. */
  static async create(
    disk: Disk,
    directory: string,
    options: { readonly number: number; readonly mark: number; readonly firstSequence: number },
  ): Promise<SegmentFile> {
    const file = await disk.openAppend(`${directory}/${segmentName(options.number)}`)
    try {
      if (file.size > 0) await file.truncate(0)
      await file.append([encodeHeader('segment', options)], { durable: true })
      await disk.syncDirectory(directory)
    } catch (error) {
      await closeQuietly(file)
      throw error
    }
    return new SegmentFile(file, options.number, options.mark, HEADER_BYTES)
  }

  /**
   * Goes on with a segment after a restart. The truncation, even to the same size, also makes durable what
   * a killed process had written and not synced: it was read, so it may be told to peers from now on.
   */
  static async resume(
    disk: Disk,
    directory: string,
    last: { readonly number: number; readonly mark: number; readonly goodBytes: number },
  ): Promise<SegmentFile> {
    const file = await disk.openAppend(`${directory}/${segmentName(last.number)}`)
    try {
      await file.truncate(last.goodBytes)
    } catch (error) {
      await closeQuietly(file)
      throw error
    }
    return new SegmentFile(file, last.number, last.mark, last.goodBytes)
  }

  /**
   * Appends one group and makes it durable; resolves to its size.
   * @throws DiskFullError when the file is as it was before and the call may be repeated
   * @throws DiskError when the state of the file is unknown
   */
  async append(chunks: readonly Uint8Array[]): Promise<number> {
    if (this.#dirty) await this.#cutBack()
    try {
      await this.#file.append(chunks, { durable: true })
    } catch (error) {
      if (error instanceof DiskFullError) await this.#cutBack().catch(ignoreDiskFull)
      throw error
    }
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    this.#goodBytes += bytes
    if (bytes < RESERVE_BELOW_GROUP_BYTES) this.#file.reserve(RESERVED_BYTES)
    return bytes
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  async #cutBack(): Promise<void> {
    this.#dirty = true
    await this.#file.truncate(this.#goodBytes)
    this.#dirty = false
  }
}

function ignoreDiskFull(error: unknown): void {
  if (!(error instanceof DiskFullError)) throw error
}

/** For files whose content no longer matters or is already durable: a failing close changes nothing. */
export async function closeQuietly(file: { close(): Promise<void> }): Promise<void> {
  await file.close().catch(() => undefined)
}
