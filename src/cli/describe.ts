import type { AuditEntry } from '../node/audit.js'
import type { ReplicaPlace, ServerAudit } from '../node/mesh-audit.js'
import type { MeshNode } from '../node/mesh-node.js'
import type { MemberStatus, NodeStatus, RaftView } from '../node/status.js'
import type { WithdrawalCase } from '../node/withdrawal.js'
import type { Anchor } from '../registry/anchor.js'
import type { Entity } from '../registry/entity.js'
import type { Transfer } from '../registry/transfer.js'
import type { SyncEvent } from '../sync/event.js'
import type { JsonValue } from './output.js'

type TransferRun = ReturnType<MeshNode['transferRun']>

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
      unnumbered: partition.unnumbered,
      checksum: partition.checksum,
    })),
    transfers: { owned: status.transfers.owned, moved: status.transfers.moved.toString() },
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

export function describeRaft(view: RaftView): JsonValue {
  return {
    group_id: view.groupId,
    epoch: view.epoch,
    role: view.role,
    term: view.term,
    leader: view.leader ?? null,
    commit_index: view.commitIndex,
    applied_index: view.appliedIndex,
    peers: view.peers.map(({ serverId, replica, voter, matchIndex, active }) => ({
      server_id: serverId,
      replica,
      voter,
      match_index: matchIndex ?? null,
      active: active ?? null,
    })),
  }
}

export function describeAnchor(anchor: Anchor): JsonValue {
  const { id, storage, world, position, metadata } = anchor
  return {
    id,
    storage,
    world,
    position: { ...position },
    metadata: { ...metadata },
    ...describeEntity(anchor),
  }
}

export function describeTransfer(transfer: Transfer) {
  const { id, from, to, items, rate, enabled, metadata } = transfer
  return { id, from, to, items, rate, enabled, metadata: { ...metadata }, ...describeEntity(transfer) }
}

/** Who runs a transfer; what it has moved is known to that server alone, and null elsewhere. */
export function describeTransferRun(transfer: Transfer, { owner, progress }: TransferRun): JsonValue {
  return {
    ...describeTransfer(transfer),
    owner: owner ?? null,
    state: progress?.state ?? null,
    moved: progress?.moved.toString() ?? null,
    waiting_for_rights: progress?.waiting ?? null,
  }
}

function describeEntity({ version, createdBy, createdAtMs, updatedBy, updatedAtMs }: Entity) {
  return {
    version,
    created_by: createdBy,
    created_at_ms: createdAtMs,
    updated_by: updatedBy,
    updated_at_ms: updatedAtMs,
  }
}

export function describeCase(withdrawal: WithdrawalCase): JsonValue {
  const { id, serverId, storage, item, amount, madeAtMs, state } = withdrawal
  return {
    id,
    server_id: serverId,
    storage,
    item,
    amount: amount.toString(),
    made_at_ms: madeAtMs,
    state,
  }
}

export function describeAuditEntry(entry: AuditEntry): JsonValue {
  const {
    storage,
    world,
    item,
    deposited,
    withdrawn,
    compensated,
    underWay,
    provisional,
    rightsSum,
    quantity,
  } = entry
  return {
    storage,
    world: world ?? null,
    item,
    deposited: deposited.toString(),
    withdrawn: withdrawn.toString(),
    compensated: compensated.toString(),
    under_way: underWay.toString(),
    provisional: provisional.toString(),
    rights: rightsSum.toString(),
    quantity: quantity.toString(),
  }
}

export function describeServerAudit({
  serverId,
  state,
  differences,
  undecided,
  books,
}: ServerAudit): JsonValue {
  return {
    server_id: serverId,
    state,
    differences: differences.map((difference) => ({
      ...describePlace(difference),
      items: difference.items.map(({ storage, item }) => ({ storage, item })),
      others: difference.others,
    })),
    undecided: undecided.map(describePlace),
    books: books
      ? {
          items: books.items,
          wrong_count: books.wrongCount,
          wrong: books.wrong.map(describeAuditEntry),
          overdrawn_count: books.overdrawnCount,
          overdrawn: books.overdrawn.map(describeAuditEntry),
          altered: books.altered.map(describePlace),
        }
      : null,
  }
}

function describePlace({ world, replica }: ReplicaPlace) {
  return { world: world ?? null, replica }
}
