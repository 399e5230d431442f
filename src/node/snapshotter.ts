import { encodeDelta } from '../crdt/delta-encoder.js'
import { DELTA_BYTES } from '../crdt/limits.js'
import type { Partition } from '../crdt/partition.js'
import { nextTurn } from '../environment/next-turn.js'
import type { Journal, SnapshotWriter } from '../journal/journal.js'
import { encodeMessage } from '../wire/encode.js'
import {
  type Incarnation,
  incarnationToTuple,
  type UnnumberedWrites,
  unnumberedToTuple,
} from './journal-records.js'

/** A snapshot is due when a restart would replay more than this, and more than twice the state itself. */
export const SNAPSHOT_MIN_BYTES = 32 * 1024 * 1024

export interface SnapshotSource {
  readonly journal: Journal
  readonly partitions: ReadonlyMap<string, Partition>
  readonly incarnation: () => Incarnation
  readonly unnumberedWrites: () => readonly UnnumberedWrites[]
  /** Records of this server's part in the Raft group, as of the call. */
  readonly raftRecords: () => Iterable<Uint8Array>
  readonly soon: (task: () => void) => void
}

/**
 * Writes the state as the deltas that a peer who has nothing would get, in slices between which the node goes
 * on. Cells that change meanwhile appear later in the order, or in the journal's next segment, or both:
 * merging keeps the higher number, so all of that is harmless. Unnumbered writes are not idempotent, so they
 * are taken at the very moment the segment changes. Returns the snapshot's size.
 */
export async function writeSnapshot(source: SnapshotSource): Promise<number> {
  const opening = source.journal.beginSnapshot()
  const before = source.journal.appended
  const unnumbered = source.unnumberedWrites()
  const incarnation = source.incarnation()
  const raftRecords = source.raftRecords()
  const writer = await opening
  try {
    // Own writes enter the state only when durable; those in the segments replaced here must be in it first.
    await source.journal.whenDurable(before)
    const head = [
      encodeMessage(incarnationToTuple(incarnation)),
      ...unnumbered.map((writes) => encodeMessage(unnumberedToTuple(writes))),
    ]
    return await writeState(source, writer, head, raftRecords)
  } catch (error) {
    await writer.abort()
    throw error
  }
}

async function writeState(
  source: SnapshotSource,
  writer: SnapshotWriter,
  head: readonly Uint8Array[],
  raftRecords: Iterable<Uint8Array>,
): Promise<number> {
  let bytes = 0
  const write = async (records: readonly Uint8Array[]) => {
    for (const record of records) bytes += record.length
    await writer.write(records)
    await nextTurn(source)
  }
  await write(head)
  for (const record of raftRecords) await write([record])
  for (const partition of source.partitions.values()) {
    for (const { replica } of [...partition.replicas()]) {
      let from = 0
      for (;;) {
        const delta = partition.deltaSince(replica, from, DELTA_BYTES)
        if (!delta) break
        await write([encodeDelta(delta)])
        from = delta.to
      }
    }
  }
  await writer.commit()
  return bytes
}
