import type { ReadFile } from '../environment/environment.js'
import { claimedLength, FRAME_HEADER_BYTES, type Frame, MARK_OFFSET, parseFrame } from './frame.js'

/** Read at a time; never the whole file at once. */
export const READ_CHUNK_BYTES = 1024 * 1024

/** Frames of one file through a window of about READ_CHUNK_BYTES. */
export class FileWindow {
  readonly size: number
  readonly #file: ReadFile
  #bytes: Uint8Array = new Uint8Array(0)
  #start = 0

  constructor(file: ReadFile) {
    this.#file = file
    this.size = file.size
  }

  /** `length` bytes at `offset`, fewer only at the end of the file. A view of the window. */
  async bytes(offset: number, length: number): Promise<Uint8Array> {
    return this.#held(offset, length) ?? (await this.#load(offset, length))
  }

  /** The valid frame at `offset`, or undefined. */
  async frameAt(offset: number, mark: number): Promise<Frame | undefined> {
    if (this.size - offset < FRAME_HEADER_BYTES) return undefined
    // The window is asked first without awaiting: small frames come by the hundred thousand.
    const header = this.#held(offset, FRAME_HEADER_BYTES) ?? (await this.#load(offset, FRAME_HEADER_BYTES))
    const length = header.length < FRAME_HEADER_BYTES ? undefined : claimedLength(header, mark)
    if (length === undefined || length > this.size - offset) return undefined
    const bytes = this.#held(offset, length) ?? (await this.#load(offset, length))
    return bytes.length < length ? undefined : parseFrame(bytes)
  }

  /** First valid frame that begins at or after `offset` and satisfies `wanted`; its offset, or undefined. */
  async findFrame(
    offset: number,
    mark: number,
    wanted: (frame: Frame) => boolean,
  ): Promise<number | undefined> {
    const pattern = new Uint8Array(4)
    new DataView(pattern.buffer).setUint32(0, mark, true)
    let position = offset
    while (this.size - position >= FRAME_HEADER_BYTES) {
      const chunk = await this.bytes(position, READ_CHUNK_BYTES)
      const found = indexOf(chunk, pattern, MARK_OFFSET)
      if (found < 0) {
        // The last bytes may hold the beginning of a mark that the next chunk completes.
        position += Math.max(1, chunk.length - MARK_OFFSET - pattern.length + 1)
        continue
      }
      position += found - MARK_OFFSET
      const frame = await this.frameAt(position, mark)
      if (frame !== undefined && wanted(frame)) return position
      position += 1
    }
    return undefined
  }

  /** Where the zeros at the end of the file begin; `offset` when there is nothing else from there on. */
  async endOfData(offset: number): Promise<number> {
    let end = offset
    for (let position = offset; position < this.size; ) {
      const chunk = await this.bytes(position, READ_CHUNK_BYTES)
      if (chunk.length === 0) break
      let last = chunk.length - 1
      while (last >= 0 && chunk[last] === 0) last -= 1
      if (last >= 0) end = position + last + 1
      position += chunk.length
    }
    return end
  }

  #held(offset: number, length: number): Uint8Array | undefined {
    const from = offset - this.#start
    if (from < 0) return undefined
    const available = this.#start + this.#bytes.length
    if (Math.min(offset + length, this.size) > available) return undefined
    return this.#bytes.subarray(from, from + length)
  }

  async #load(offset: number, length: number): Promise<Uint8Array> {
    this.#bytes = await this.#file.read(offset, Math.max(length, READ_CHUNK_BYTES))
    this.#start = offset
    return this.#bytes.subarray(0, length)
  }
}

function indexOf(bytes: Uint8Array, pattern: Uint8Array, from: number): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(pattern, from)
}
