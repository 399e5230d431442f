import { crc32 } from 'node:zlib'

/**
 * A segment of the ledger is a file of frames, little endian:
 *
 *     0  u32 mark 0x534d4c46
 *     4  u32 crc32 of bytes 8..end
 *     8  u32 payload length
 *    12  payload: one block
 *
 * A reader that meets something else looks for the next whole frame: a damaged part costs what it covers.
 */
const MARK = 0x534d4c46
/** Of the mark, as it lies in the file. */
export const FIRST_BYTE = MARK & 0xff
export const FRAME_OVERHEAD_BYTES = 12
/** Largest payload; a length beyond it is damage. */
export const MAX_BLOCK_BYTES = 256 * 1024

export function frameOf(payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FRAME_OVERHEAD_BYTES + payload.length)
  const view = new DataView(frame.buffer)
  view.setUint32(0, MARK, true)
  view.setUint32(8, payload.length, true)
  frame.set(payload, FRAME_OVERHEAD_BYTES)
  view.setUint32(4, crc32(frame.subarray(8)), true)
  return frame
}

/** What lies at the beginning of some bytes: a frame, the beginning of one, or something else. */
export type FrameFound = { readonly payload: Uint8Array; readonly length: number } | 'short' | 'damaged'

export function frameAt(bytes: Uint8Array, offset: number): FrameFound {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, bytes.length - offset)
  if (view.byteLength < FRAME_OVERHEAD_BYTES) return 'short'
  const length = view.getUint32(8, true)
  if (view.getUint32(0, true) !== MARK || length > MAX_BLOCK_BYTES) return 'damaged'
  const end = FRAME_OVERHEAD_BYTES + length
  if (view.byteLength < end) return 'short'
  const frame = bytes.subarray(offset, offset + end)
  if (crc32(frame.subarray(8)) !== view.getUint32(4, true)) return 'damaged'
  return { payload: frame.subarray(FRAME_OVERHEAD_BYTES), length: end }
}
