import { crc32 } from 'node:zlib'
import type { RandomSource } from '../environment/environment.js'

/**
 * The first bytes of a segment or snapshot, little endian:
 *
 *     0  magic, 8 bytes        'SILOJRNL' or 'SILOSNAP'
 *     8  u32 format version
 *    12  u32 crc32 of bytes 0..12, so that a file of any later version is recognised as such
 *    16  u64 number            of the segment, or of the segment to replay after the snapshot
 *    24  u64 first sequence    of the group that this segment (or the one after the snapshot) begins with
 *    32  u32 mark              random per file, repeated in every frame
 *    36  u32 crc32 of bytes 0..36
 *
 * The mark makes a frame valid in its own file only: stale blocks of a deleted segment, and records whose
 * content imitates a frame, can never be taken for one.
 */
export const HEADER_BYTES = 40
export const FORMAT_VERSION = 1

const MAGIC = { segment: 'SILOJRNL', snapshot: 'SILOSNAP' } as const
export type FileKind = keyof typeof MAGIC

export interface FileHeader {
  readonly number: number
  readonly firstSequence: number
  readonly mark: number
}

export type ParsedHeader =
  | { readonly kind: 'valid'; readonly header: FileHeader }
  | { readonly kind: 'unknown-version'; readonly version: number }
  | { readonly kind: 'invalid' }

export function newMark(random: RandomSource): number {
  const bytes = random.bytes(4)
  // Never zero: a zero-filled tail must not look like a row of marks.
  return (new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true) | 1) >>> 0
}

export function encodeHeader(kind: FileKind, header: FileHeader): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES)
  const view = new DataView(bytes.buffer)
  bytes.set(magicBytes(kind))
  view.setUint32(8, FORMAT_VERSION, true)
  view.setUint32(12, crc32(bytes.subarray(0, 12)), true)
  view.setBigUint64(16, BigInt(header.number), true)
  view.setBigUint64(24, BigInt(header.firstSequence), true)
  view.setUint32(32, header.mark, true)
  view.setUint32(36, crc32(bytes.subarray(0, 36)), true)
  return bytes
}

export function parseHeader(kind: FileKind, bytes: Uint8Array): ParsedHeader {
  if (bytes.length < HEADER_BYTES) return { kind: 'invalid' }
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES)
  const magic = magicBytes(kind)
  if (magic.some((byte, position) => bytes[position] !== byte)) return { kind: 'invalid' }
  if (view.getUint32(12, true) !== crc32(bytes.subarray(0, 12))) return { kind: 'invalid' }
  const version = view.getUint32(8, true)
  if (version !== FORMAT_VERSION) return { kind: 'unknown-version', version }
  if (view.getUint32(36, true) !== crc32(bytes.subarray(0, 36))) return { kind: 'invalid' }
  const header = {
    number: Number(view.getBigUint64(16, true)),
    firstSequence: Number(view.getBigUint64(24, true)),
    mark: view.getUint32(32, true),
  }
  return { kind: 'valid', header }
}

function magicBytes(kind: FileKind): Uint8Array {
  return Uint8Array.from(MAGIC[kind], (letter) => letter.charCodeAt(0))
}
