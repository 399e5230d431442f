import type { Cell } from '../crdt/cell.js'
import { cellFromTuple, cellToTuple } from '../crdt/delta-codec.js'
import { MAX_DELTA_CELLS, MAX_PARTITION_LENGTH, MAX_REPLICA_LENGTH } from '../crdt/limits.js'
import type { ReplicaId } from '../sync/identity.js'
import { expectArray, expectString, expectTuple, expectUint } from '../wire/expect.js'
import { MessageType } from '../wire/message-type.js'
import type { WireTuple } from '../wire/wire-value.js'

/** Which replica this server writes as, and how often that replica has been started. */
export interface Incarnation {
  readonly replica: ReplicaId
  readonly starts: number
}

/** Own writes that are durable but have no number yet. They are changes, not totals: each counts once. */
export interface UnnumberedWrites {
  readonly partition: string
  /** As whom the server wrote when it journalled them. */
  readonly replica: ReplicaId
  readonly cells: readonly Cell[]
}

export function incarnationToTuple({ replica, starts }: Incarnation): WireTuple {
  return [MessageType.incarnation, replica, starts]
}

export function incarnationFromTuple(tuple: WireTuple): Incarnation {
  const fields = expectTuple(tuple, 3, 'incarnation')
  return {
    replica: expectString(fields[1], MAX_REPLICA_LENGTH, 'incarnation.replica'),
    starts: expectUint(fields[2], 'incarnation.starts'),
  }
}

export function unnumberedToTuple({ partition, replica, cells }: UnnumberedWrites): WireTuple {
  return [MessageType.unnumbered, partition, replica, cells.map(cellToTuple)]
}

export function unnumberedFromTuple(tuple: WireTuple): UnnumberedWrites {
  const fields = expectTuple(tuple, 4, 'unnumbered')
  return {
    partition: expectString(fields[1], MAX_PARTITION_LENGTH, 'unnumbered.partition'),
    replica: expectString(fields[2], MAX_REPLICA_LENGTH, 'unnumbered.replica'),
    cells: expectArray(fields[3], MAX_DELTA_CELLS, 'unnumbered.cells').map(cellFromTuple),
  }
}

/** Says that so many of the partition's oldest unnumbered records are contained in the deltas beside it. */
export interface NumberedMark {
  readonly partition: string
  readonly records: number
}

export function numberedToTuple({ partition, records }: NumberedMark): WireTuple {
  return [MessageType.numbered, partition, records]
}

export function numberedFromTuple(tuple: WireTuple): NumberedMark {
  const fields = expectTuple(tuple, 3, 'numbered')
  return {
    partition: expectString(fields[1], MAX_PARTITION_LENGTH, 'numbered.partition'),
    records: expectUint(fields[2], 'numbered.records'),
  }
}
