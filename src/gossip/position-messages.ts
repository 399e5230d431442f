import { MAX_PARTITION_LENGTH } from '../crdt/limits.js'
import { expectArray, expectBoolean, expectString, expectTuple, expectUint } from '../wire/expect.js'
import { MessageType } from '../wire/message-type.js'
import type { WireTuple } from '../wire/wire-value.js'
import { MAX_PARTITIONS, type PartitionRows, rowsFromTuple, rowsToTuple } from './messages.js'

/** Asks what the other side's journal holds by now. */
export interface PositionsRequest {
  /** Comes back in the answer. */
  readonly number: number
  readonly partitions: readonly string[]
}

/** What the sender's journal holds: `first` = number up to which it is durable there, `second` unused (0). */
export interface PositionsMessage {
  readonly number: number
  /** Those of the partitions asked for that it hosts. */
  readonly partitions: readonly PartitionRows[]
  /** Further parts follow. */
  readonly more: boolean
}

export function positionsRequestToTuple({ number, partitions }: PositionsRequest): WireTuple {
  return [MessageType.positionsRequest, number, [...partitions]]
}

/** @throws FrameError */
export function positionsRequestFromTuple(tuple: WireTuple): PositionsRequest {
  const fields = expectTuple(tuple, 3, 'positions_request')
  const partitions = expectArray(fields[2], MAX_PARTITIONS, 'positions_request.partitions')
  return {
    number: expectUint(fields[1], 'positions_request.number'),
    partitions: partitions.map((name) =>
      expectString(name, MAX_PARTITION_LENGTH, 'positions_request.partition'),
    ),
  }
}

export function positionsToTuple({ number, partitions, more }: PositionsMessage): WireTuple {
  const tuple = [MessageType.positions, number, rowsToTuple(partitions)]
  return more ? [...tuple, true] : tuple
}

/** @throws FrameError */
export function positionsFromTuple(tuple: WireTuple): PositionsMessage {
  const fields = expectTuple(tuple, 3, 'positions')
  return {
    number: expectUint(fields[1], 'positions.number'),
    partitions: rowsFromTuple(fields[2]),
    more: fields.length > 3 && expectBoolean(fields[3], 'positions.more'),
  }
}
