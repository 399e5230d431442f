import type { MemberStatus, NodeStatus } from '../node/status.js'
import type { SyncEvent } from '../sync/event.js'
import type { JsonValue } from './output.js'

/** What a node tells, in the names of the wire: snake_case, units last. Ids keep their own spelling. */

export function describeStatus(status: NodeStatus): JsonValue {
  return {
    server_id: status.serverId,
    cluster_id: status.clusterId,
    replica: status.replica,
    address: status.address,
    durability: status.durability,
    journal: status.journal,
    numbering_held: status.numberingHeld,
    links: status.links,
    members: status.members,
    partitions: status.partitions.map((partition) => ({
      partition: partition.partition,
      cells: partition.cells,
      entries: partition.entries,
      version_vector: { ...partition.versionVector },
      settled: partition.settled,
      checksum: partition.checksum,
    })),
    uptime_ms: Math.round(status.uptimeMs),
  }
}

export function describeMember(member: MemberStatus): JsonValue {
  return {
    server_id: member.serverId,
    status: member.status,
    self: member.self,
    linked: member.linked,
    address: member.address,
    replica: member.replica,
    worlds: member.worlds,
    version: member.version,
  }
}

export function describeEvent(event: SyncEvent): JsonValue {
  return {
    type: 'event',
    event_id: event.eventId,
    event_type: event.type,
    entity_type: event.entityType,
    entity_id: event.entityId,
    origin: event.origin,
    timestamp_ms: event.timestampMs,
    payload_base64: Buffer.from(event.payload).toString('base64'),
  }
}
