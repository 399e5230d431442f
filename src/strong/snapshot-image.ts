import { SnapshotRestore } from '../raft/state-machine/snapshot-restore.js'
import type { StateMachine, StateMachineInput } from '../raft/state-machine/state-machine.js'
import type { SnapshotMetadata } from '../raft/types.js'
import { FrameError } from '../sync/errors.js'
import { encodeMessage } from '../wire/encode.js'
import { decodeTuple } from '../wire/safe-cbor.js'
import type { WireTuple } from '../wire/wire-value.js'
import { SNAPSHOT_PIECE_BYTES, type SnapshotPiece } from './raft-records.js'

/** A snapshot of the state machine as bytes: its tuples one after the other, each behind its length (uint32). */
export interface SnapshotImage {
  readonly metadata: SnapshotMetadata
  readonly bytes: Uint8Array
}

const LENGTH_BYTES = 4

/**
 * Encodes the state as it is now; what is applied meanwhile does not show. `turn` gives way to others between
 * chunks, so that a large state holds nobody up.
 */
export async function takeImage(
  machine: StateMachine,
  metadata: SnapshotMetadata,
  turn: () => Promise<void>,
): Promise<SnapshotImage> {
  const parts: Uint8Array[] = []
  for (const tuple of machine.snapshot()) {
    const chunk = encodeMessage(tuple as WireTuple)
    const length = new Uint8Array(LENGTH_BYTES)
    new DataView(length.buffer).setUint32(0, chunk.length)
    parts.push(length, chunk)
    await turn()
  }
  return { metadata, bytes: concatenate(parts) }
}

/** @throws FrameError when the bytes are not a whole snapshot. */
export function restoreImage(image: SnapshotImage, input: StateMachineInput): StateMachine {
  const restore = new SnapshotRestore(input)
  const view = new DataView(image.bytes.buffer, image.bytes.byteOffset, image.bytes.length)
  let offset = 0
  while (offset < image.bytes.length) {
    if (offset + LENGTH_BYTES > image.bytes.length) throw new FrameError('snapshot is cut short')
    const end = offset + LENGTH_BYTES + view.getUint32(offset)
    if (end > image.bytes.length) throw new FrameError('snapshot is cut short')
    restore.add(decodeTuple(image.bytes.subarray(offset + LENGTH_BYTES, end)))
    offset = end
  }
  return restore.finish()
}

export function* piecesOf(image: SnapshotImage, replacesLog: boolean): IterableIterator<SnapshotPiece> {
  const { metadata, bytes } = image
  let offset = 0
  do {
    const data = bytes.subarray(offset, offset + SNAPSHOT_PIECE_BYTES)
    const last = offset + data.length >= bytes.length
    yield { metadata, offset, data, last, replacesLog }
    offset += data.length
  } while (offset < bytes.length)
}

/** Puts an image together from pieces in order; a piece at offset 0 begins anew. */
export class ImageAssembly {
  private received: SnapshotPiece[] = []

  /** Returns the image when the last piece is in. @throws FrameError for a piece out of order */
  add(piece: SnapshotPiece): SnapshotImage | undefined {
    if (piece.offset === 0) this.received = []
    const before = this.received.at(-1)
    const expected = before ? before.offset + before.data.length : 0
    if (piece.offset !== expected) throw new FrameError(`snapshot piece at ${piece.offset}, not ${expected}`)
    this.received.push({ ...piece, data: Uint8Array.prototype.slice.call(piece.data) })
    if (!piece.last) return undefined
    const bytes = concatenate(this.received.map(({ data }) => data))
    this.received = []
    return { metadata: piece.metadata, bytes }
  }

  /** What has come so far of a snapshot that is not complete. */
  pieces(): readonly SnapshotPiece[] {
    return [...this.received]
  }
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.length
  }
  return whole
}
