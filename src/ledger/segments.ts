import type { Disk } from '../environment/environment.js'
import { encodeMessage } from '../wire/encode.js'
import { frameOf } from './frame.js'

const PATTERN = /^ledger-(\d{16})\.log$/
const MAGIC = new TextEncoder().encode('SILOLDG1')
/** The magic, then the wall time of its beginning as a little-endian double. */
export const HEADER_BYTES = 16
/** The last frame of a ledger that was closed properly: a block of another kind. */
export const CLEAN_STOP = frameOf(encodeMessage([2]))

/** A file of the ledger. */
export interface Segment {
  readonly number: number
  /** Bytes that may be read. */
  readonly bytes: number
  /** 0 when its header is unreadable. */
  readonly createdMs: number
}

export function segmentPath(directory: string, number: number): string {
  return `${directory}/ledger-${String(number).padStart(16, '0')}.log`
}

export function segmentHeader(createdMs: number): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES)
  header.set(MAGIC)
  new DataView(header.buffer).setFloat64(MAGIC.length, createdMs, true)
  return header
}

/** The segments of a directory, ascending. @throws DiskError */
export async function listSegments(disk: Disk, directory: string): Promise<Segment[]> {
  const segments: Segment[] = []
  for (const name of await disk.list(directory)) {
    const number = Number(PATTERN.exec(name)?.[1] ?? 0)
    if (number === 0) continue
    const file = await disk.openRead(segmentPath(directory, number))
    try {
      segments.push({ number, bytes: file.size, createdMs: createdMsOf(await file.read(0, HEADER_BYTES)) })
    } finally {
      await file.close()
    }
  }
  return segments.sort((left, right) => left.number - right.number)
}

/** Whether whoever wrote this segment closed it. @throws DiskError */
export async function endsCleanly(
  disk: Disk,
  directory: string,
  { number, bytes }: Segment,
): Promise<boolean> {
  if (bytes < HEADER_BYTES + CLEAN_STOP.length) return false
  const file = await disk.openRead(segmentPath(directory, number))
  try {
    const end = await file.read(bytes - CLEAN_STOP.length, CLEAN_STOP.length)
    return end.length === CLEAN_STOP.length && end.every((byte, position) => byte === CLEAN_STOP[position])
  } finally {
    await file.close()
  }
}

function createdMsOf(header: Uint8Array): number {
  if (header.length < HEADER_BYTES || MAGIC.some((byte, position) => byte !== header[position])) return 0
  const createdMs = new DataView(header.buffer, header.byteOffset).getFloat64(MAGIC.length, true)
  return Number.isFinite(createdMs) ? createdMs : 0
}
