import { crc32 } from 'node:zlib'
import { InvariantViolation } from '../sync/errors.js'
import { MAX_RECORD_BYTES } from './journal.js'

/**
 * A frame, little endian:
 *
 *     0  u32 crc32 of bytes 4..end
 *     4  u32 mark              of the file (header.ts)
 *     8  u32 payload length
 *    12  u16 flags
 *    14  u16 part              0, 1, 2 … within its group
 *    16  u64 sequence          of the group; no number is skipped, across segments too
 *    24  payload: records, each a u32 length and its bytes
 *
 * A group (one durable write) is one or more frames of one sequence, the last flagged GROUP_END. Only one
 * group is written at a time, which is what lets recovery tell a crash from damage: whatever a power cut
 * leaves of a write, in whatever order the blocks reached the disk, it is all of one sequence. A valid
 * frame of a *later* sequence proves that the group before it had been durable.
 */
export const FRAME_HEADER_BYTES = 24
/** Payload at which a frame is closed; a larger record gets a frame of its own. */
export const FRAME_TARGET_BYTES = 256 * 1024
export const RECORD_PREFIX_BYTES = 4
/** Largest frame; a length beyond it is damage, and never allocated. */
const MAX_FRAME_BYTES =
  FRAME_HEADER_BYTES + Math.max(FRAME_TARGET_BYTES, RECORD_PREFIX_BYTES + MAX_RECORD_BYTES)
/** Parts of one group: 64 MiB pending in frames that are at least half full is far below. */
const MAX_GROUP_PARTS = 0x1_0000

export const FLAG_GROUP_END = 1
/** An empty group at the end of a segment: the journal was closed properly. */
export const FLAG_CLEAN_STOP = 2
/** The trailer of a snapshot. */
export const FLAG_SNAPSHOT_END = 4

export const MARK_OFFSET = 4
const LENGTH_OFFSET = 8
const FLAGS_OFFSET = 12
const PART_OFFSET = 14
const SEQUENCE_OFFSET = 16
const INITIAL_CAPACITY_BYTES = 4096

/** What the header of a frame says besides the length. */
export interface FrameLabel {
  readonly flags: number
  readonly part: number
  readonly sequence: number
}

export interface Frame extends FrameLabel {
  readonly payload: Uint8Array
  /** Bytes of the whole frame. */
  readonly length: number
}

/** Collects records in one reused buffer, which begins small: a quiet journal costs little memory. */
export class FrameBuilder {
  #bytes = new Uint8Array(INITIAL_CAPACITY_BYTES)
  #view = new DataView(this.#bytes.buffer)
  #length = FRAME_HEADER_BYTES

  /** Bytes of the frame so far, header included. */
  get length(): number {
    return this.#length
  }

  get empty(): boolean {
    return this.#length === FRAME_HEADER_BYTES
  }

  get capacity(): number {
    return this.#bytes.length
  }

  /** False when the record belongs in the next frame. A record of any allowed size fits an empty one. */
  fits(record: Uint8Array): boolean {
    if (this.empty) return true
    const payload = this.#length - FRAME_HEADER_BYTES + RECORD_PREFIX_BYTES + record.length
    return payload <= FRAME_TARGET_BYTES
  }

  add(record: Uint8Array): void {
    const start = this.#length + RECORD_PREFIX_BYTES
    const end = start + record.length
    if (end > this.#bytes.length) this.#grow(end)
    this.#view.setUint32(this.#length, record.length, true)
    this.#bytes.set(record, start)
    this.#length = end
  }

  /** For a payload that is not a row of records. */
  addRaw(payload: Uint8Array): void {
    const end = this.#length + payload.length
    if (end > this.#bytes.length) this.#grow(end)
    this.#bytes.set(payload, this.#length)
    this.#length = end
  }

  /** The finished frame: a view of the buffer, good until `reset`. */
  seal(mark: number, label: FrameLabel): Uint8Array {
    if (label.part >= MAX_GROUP_PARTS) throw new InvariantViolation('J4', `group part ${label.part}`)
    const view = this.#view
    view.setUint32(MARK_OFFSET, mark, true)
    view.setUint32(LENGTH_OFFSET, this.#length - FRAME_HEADER_BYTES, true)
    view.setUint16(FLAGS_OFFSET, label.flags, true)
    view.setUint16(PART_OFFSET, label.part, true)
    view.setBigUint64(SEQUENCE_OFFSET, BigInt(label.sequence), true)
    const frame = this.#bytes.subarray(0, this.#length)
    view.setUint32(0, crc32(frame.subarray(MARK_OFFSET)), true)
    return frame
  }

  reset(): void {
    this.#length = FRAME_HEADER_BYTES
  }

  #grow(needed: number): void {
    let capacity = this.#bytes.length * 2
    while (capacity < needed) capacity *= 2
    const larger = new Uint8Array(Math.min(capacity, MAX_FRAME_BYTES))
    larger.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = larger
    this.#view = new DataView(larger.buffer)
  }
}

/** Bytes that a frame at the start of `bytes` claims to have, or undefined when it cannot be one. */
export function claimedLength(bytes: Uint8Array, mark: number): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, FRAME_HEADER_BYTES)
  if (view.getUint32(MARK_OFFSET, true) !== mark) return undefined
  const length = FRAME_HEADER_BYTES + view.getUint32(LENGTH_OFFSET, true)
  return length <= MAX_FRAME_BYTES ? length : undefined
}

/** The frame that `bytes` is exactly, or undefined when its checksum fails. */
export function parseFrame(bytes: Uint8Array): Frame | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (view.getUint32(0, true) !== crc32(bytes.subarray(MARK_OFFSET))) return undefined
  return {
    flags: view.getUint16(FLAGS_OFFSET, true),
    part: view.getUint16(PART_OFFSET, true),
    sequence: Number(view.getBigUint64(SEQUENCE_OFFSET, true)),
    payload: bytes.subarray(FRAME_HEADER_BYTES),
    length: bytes.length,
  }
}

/** Hands out the records of a payload; false when their lengths do not add up. */
export function forEachRecord(payload: Uint8Array, take: (record: Uint8Array) => void): boolean {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length)
  let offset = 0
  while (offset < payload.length) {
    if (payload.length - offset < RECORD_PREFIX_BYTES) return false
    const start = offset + RECORD_PREFIX_BYTES
    const end = start + view.getUint32(offset, true)
    if (end > payload.length) return false
    take(payload.subarray(start, end))
    offset = end
  }
  return true
}
