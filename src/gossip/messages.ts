import { MAX_PARTITION_LENGTH, MAX_REPLICA_LENGTH } from '../crdt/limits.js'
import { FrameError } from '../sync/errors.js'
import { isReplicaId, MAX_SERVER_ID_LENGTH, type ReplicaId, serverOfReplica } from '../sync/identity.js'
import {
  expectArray,
  expectBoolean,
  expectInteger,
  expectString,
  expectTuple,
  expectUint,
} from '../wire/expect.js'
import { MessageType } from '../wire/message-type.js'
import { inParts } from '../wire/row-parts.js'
import type { WireTuple, WireValue } from '../wire/wire-value.js'

/** Most partitions that a digest may name. */
export const MAX_PARTITIONS = 1024
/** Most replicas of one partition that a digest, acknowledgement or checksum message may name. */
export const MAX_REPLICAS = 4096
/** Rows (and partitions) that one message carries; what has more is sent as several, each below the size cap. */
export const ROWS_PER_MESSAGE = 1024
/** Most rows that the parts of one digest may have together. */
export const MAX_DIGEST_ROWS = 65_536
/** Most servers that a heartbeat may name. */
export const MAX_SERVERS = 1024

/** One row per replica; what the numbers mean depends on the message. */
export interface ReplicaRow {
  readonly replica: ReplicaId
  readonly first: number
  readonly second: number
}

export interface PartitionRows {
  readonly partition: string
  readonly rows: readonly ReplicaRow[]
}

/**
 * What the sender has: `first` = known, `second` = horizon. `received` counts the deltas it has taken from this
 * link, so that the other side can tell a loss from a delta still on its way.
 */
export interface DigestMessage {
  readonly partitions: readonly PartitionRows[]
  readonly received: number
  /** The sender refused a delta because of a gap: believe the digest even where it is lower. */
  readonly afterGap: boolean
  /** The other side should answer with its own digest. */
  readonly wantsReply: boolean
  /** Further parts follow; the digest means something only when all have come. */
  readonly more: boolean
}

/** What `server`'s journal holds: `first` = number up to which it is durable there, `second` unused (0). */
export interface AcknowledgeMessage {
  readonly server: string
  readonly partitions: readonly PartitionRows[]
}

/** The newest life sign of a server that the sender knows of, first or second hand. */
export interface LifeSign {
  readonly server: string
  readonly replica: ReplicaId
  /** Counts the starts of that replica, so that life signs grow across restarts. */
  readonly starts: number
  readonly beat: number
}

export interface HeartbeatMessage {
  readonly signs: readonly LifeSign[]
  /** Servers that the sender is linked with. */
  readonly linked: readonly string[]
}

/** `first` = known (the vector the checksum was taken at), `second` = checksum as a signed 32-bit integer. */
export interface ChecksumsMessage {
  readonly partitions: readonly PartitionRows[]
}

export interface RepairRequest {
  readonly partition: string
  readonly replica: ReplicaId
}

export function digestToTuple(message: DigestMessage): WireTuple {
  const { received, afterGap, wantsReply, more, partitions } = message
  const tuple = [MessageType.digest, received, afterGap, wantsReply, rowsToTuple(partitions)]
  return more ? [...tuple, true] : tuple
}

export function digestFromTuple(tuple: WireTuple): DigestMessage {
  const fields = expectTuple(tuple, 5, 'digest')
  return {
    received: expectUint(fields[1], 'digest.received'),
    afterGap: expectBoolean(fields[2], 'digest.after_gap'),
    wantsReply: expectBoolean(fields[3], 'digest.wants_reply'),
    partitions: rowsFromTuple(fields[4]),
    more: fields.length > 5 && expectBoolean(fields[5], 'digest.more'),
  }
}

export function acknowledgeToTuple(message: AcknowledgeMessage): WireTuple {
  return [MessageType.acknowledge, message.server, rowsToTuple(message.partitions)]
}

export function acknowledgeFromTuple(tuple: WireTuple): AcknowledgeMessage {
  const fields = expectTuple(tuple, 3, 'acknowledge')
  return {
    server: expectString(fields[1], MAX_SERVER_ID_LENGTH, 'acknowledge.server'),
    partitions: rowsFromTuple(fields[2]),
  }
}

export function heartbeatToTuple(message: HeartbeatMessage): WireTuple {
  const signs = message.signs.map(({ server, replica, starts, beat }) => [server, replica, starts, beat])
  return [MessageType.heartbeat, signs, [...message.linked]]
}

export function heartbeatFromTuple(tuple: WireTuple): HeartbeatMessage {
  const fields = expectTuple(tuple, 3, 'heartbeat')
  const signs = expectArray(fields[1], MAX_SERVERS, 'heartbeat.signs').map((value): LifeSign => {
    const sign = expectTuple(value, 4, 'heartbeat.sign')
    const server = expectString(sign[0], MAX_SERVER_ID_LENGTH, 'heartbeat.server')
    const replica = expectReplica(sign[1], 'heartbeat.replica')
    if (serverOfReplica(replica) !== server) throw new FrameError(`heartbeat: ${replica} is not of ${server}`)
    const starts = expectUint(sign[2], 'heartbeat.starts')
    return { server, replica, starts, beat: expectUint(sign[3], 'heartbeat.beat') }
  })
  const linked = expectArray(fields[2], MAX_SERVERS, 'heartbeat.linked')
  return {
    signs,
    linked: linked.map((value) => expectString(value, MAX_SERVER_ID_LENGTH, 'heartbeat.linked')),
  }
}

export function checksumsToTuple(message: ChecksumsMessage): WireTuple {
  return [MessageType.checksums, rowsToTuple(message.partitions)]
}

export function checksumsFromTuple(tuple: WireTuple): ChecksumsMessage {
  return { partitions: rowsFromTuple(expectTuple(tuple, 2, 'checksums')[1]) }
}

export function repairRequestToTuple(message: RepairRequest): WireTuple {
  return [MessageType.repairRequest, message.partition, message.replica]
}

export function repairRequestFromTuple(tuple: WireTuple): RepairRequest {
  const fields = expectTuple(tuple, 3, 'repair_request')
  return {
    partition: expectString(fields[1], MAX_PARTITION_LENGTH, 'repair_request.partition'),
    replica: expectReplica(fields[2], 'repair_request.replica'),
  }
}

/** Cuts a list so that each part fits one message. */
export function rowsInParts(partitions: readonly PartitionRows[]): PartitionRows[][] {
  return inParts(partitions, ROWS_PER_MESSAGE)
}

/** @throws FrameError unless shaped like a replica id. */
export function expectReplica(value: WireValue | undefined, field: string): ReplicaId {
  const text = expectString(value, MAX_REPLICA_LENGTH, field)
  if (!isReplicaId(text)) throw new FrameError(`${field}: not a replica id`)
  return text
}

export function rowsToTuple(partitions: readonly PartitionRows[]): WireValue {
  return partitions.map(({ partition, rows }) => [
    partition,
    rows.map(({ replica, first, second }) => [replica, first, second]),
  ])
}

/** @throws FrameError */
export function rowsFromTuple(value: WireValue | undefined): PartitionRows[] {
  const seen = new Set<string>()
  return expectArray(value, MAX_PARTITIONS, 'partitions').map((entry) => {
    const fields = expectTuple(entry, 2, 'partition')
    const partition = expectString(fields[0], MAX_PARTITION_LENGTH, 'partition.name')
    if (seen.has(partition)) throw new FrameError(`partition ${partition} named twice`)
    seen.add(partition)
    const rows = expectArray(fields[1], MAX_REPLICAS, 'partition.rows').map((row): ReplicaRow => {
      const parts = expectTuple(row, 3, 'row')
      return {
        replica: expectReplica(parts[0], 'row.replica'),
        first: expectUint(parts[1], 'row.first'),
        second: expectInteger(parts[2], 'row.second'),
      }
    })
    return { partition, rows }
  })
}
