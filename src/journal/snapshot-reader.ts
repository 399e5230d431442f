import { JournalDamagedError } from '../sync/errors.js'
import type { FileWindow } from './file-window.js'
import { FLAG_SNAPSHOT_END } from './frame.js'
import { HEADER_BYTES } from './header.js'
import { readHeader } from './read-header.js'
import type { Replayer } from './replayer.js'

/** Payload of the trailer: u64 count of the records before it. */
const TRAILER_PAYLOAD_BYTES = 8

/**
 * Replays a snapshot and returns the sequence of the group that its segment begins with. A snapshot gets its
 * name only when it is complete and durable, so whatever is wrong with it is damage.
 * @throws JournalDamagedError
 */
export async function readSnapshot(
  path: string,
  file: FileWindow,
  number: number,
  replayer: Replayer,
): Promise<number> {
  const damaged = (offset: number, detail: string) => new JournalDamagedError(path, offset, detail)
  const parsed = await readHeader(path, 'snapshot', file)
  if (parsed.kind === 'invalid') throw damaged(0, 'the file header is invalid')
  const { mark, firstSequence, number: found } = parsed.header
  if (found !== number) throw damaged(16, `the header says snapshot ${found}`)

  let offset = HEADER_BYTES
  for (let sequence = 1; ; sequence += 1) {
    const frame = await file.frameAt(offset, mark)
    if (frame === undefined) throw damaged(offset, 'a frame fails its checksum or is missing')
    if (frame.sequence !== sequence) throw damaged(offset, `frame ${frame.sequence} instead of ${sequence}`)
    const start = offset
    offset += frame.length
    if ((frame.flags & FLAG_SNAPSHOT_END) !== 0) {
      const count = trailerCount(frame.payload)
      if (count !== replayer.counts.snapshot)
        throw damaged(start, `it holds ${replayer.counts.snapshot} records instead of ${count}`)
      break
    }
    if (!(await replayer.take(frame.payload)))
      throw damaged(start, 'the lengths of its records do not add up')
  }
  if (offset !== file.size) throw damaged(offset, 'there is something after the end')
  return firstSequence
}

function trailerCount(payload: Uint8Array): number {
  if (payload.length !== TRAILER_PAYLOAD_BYTES) return -1
  return Number(new DataView(payload.buffer, payload.byteOffset, payload.length).getBigUint64(0, true))
}

export function encodeTrailer(records: number): Uint8Array {
  const payload = new Uint8Array(TRAILER_PAYLOAD_BYTES)
  new DataView(payload.buffer).setBigUint64(0, BigInt(records), true)
  return payload
}
