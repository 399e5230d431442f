import type { Partition } from '../crdt/partition.js'
import type { Membership, ServerStatus } from '../gossip/membership.js'
import { isSettled } from '../gossip/replicator.js'
import type { Link } from '../link/link.js'
import type { RaftStatus } from '../raft/status.js'
import type { RaftGroup } from '../strong/raft-records.js'
import { type ReplicaId, serverOfReplica } from '../sync/identity.js'
import type { NodeConfig } from './config.js'
import type { MemberCard } from './members.js'

/** One server as this one sees it. */
export interface MemberStatus {
  readonly serverId: string
  /** 'unknown': it is a member, but nothing has been heard of it since this node started. */
  readonly status: ServerStatus
  readonly self: boolean
  readonly linked: boolean
  readonly address: string
  readonly replica: ReplicaId
  readonly worlds: readonly string[]
  readonly version: string
}

export interface PartitionStatus {
  readonly partition: string
  readonly cells: number
  readonly entries: number
  /** Replica → number up to which everything has been seen. */
  readonly versionVector: Readonly<Record<ReplicaId, number>>
  /** False while a catch-up is under way: quantities may lag behind. */
  readonly settled: boolean
  /**
   * Entries with own writes that have no number yet: they show in quantities, and nobody else has seen them, nor do
   * `versionVector` and `checksum` speak of them. More than a moment only while numbering is held, or the disk is full.
   */
  readonly unnumbered: number
  readonly checksum: number
}

export interface NodeStatus {
  readonly serverId: string
  readonly clusterId: string
  readonly replica: ReplicaId
  readonly address: string
  readonly durability: string
  readonly journal: 'ok' | 'full' | 'failed'
  /** True after a restart until this server has heard from its peers (docs/architecture.md, invariant I2). */
  readonly numberingHeld: boolean
  readonly links: number
  readonly members: number
  readonly partitions: readonly PartitionStatus[]
  /** Transfers that this server owns, and how many items it has moved since it started. */
  readonly transfers: { readonly owned: number; readonly moved: bigint }
  readonly uptimeMs: number
}

/** The strong (Raft) group as one server sees it. */
export interface RaftView {
  readonly groupId: string
  /** Counts recoveries that gave up lost voters. */
  readonly epoch: number
  readonly role: RaftStatus['role']
  readonly term: number
  /** Server id of the leader, as far as known. */
  readonly leader: string | undefined
  readonly commitIndex: number
  readonly appliedIndex: number
  readonly peers: readonly RaftPeerView[]
}

export interface RaftPeerView {
  readonly serverId: string
  readonly replica: ReplicaId
  readonly voter: boolean
  /** Log index that it is known to hold; only the leader knows. */
  readonly matchIndex: number | undefined
  /** Whether it answers; only the leader knows. */
  readonly active: boolean | undefined
}

export function describeRaft(
  status: { group: RaftGroup; raft: RaftStatus } | undefined,
): RaftView | undefined {
  if (!status) return undefined
  const { group, raft } = status
  const progress = new Map(raft.members.map((member) => [member.node, member]))
  const view = (voter: boolean) => (replica: ReplicaId) => ({
    serverId: serverOfReplica(replica),
    replica,
    voter,
    matchIndex: progress.get(replica)?.match,
    active: progress.get(replica)?.active,
  })
  const { voters, learners } = raft.configuration
  return {
    groupId: group.groupId,
    epoch: group.epoch,
    role: raft.role,
    term: raft.term,
    leader: raft.leader === undefined ? undefined : serverOfReplica(raft.leader),
    commitIndex: raft.commit,
    appliedIndex: raft.applied,
    peers: [...voters.map(view(true)), ...learners.map(view(false))],
  }
}

export function describeMembers(
  self: string,
  cards: ReadonlyMap<string, MemberCard>,
  membership: Membership,
  links: ReadonlyMap<string, Link>,
): MemberStatus[] {
  const members = [...cards].map(([serverId, card]): MemberStatus => {
    const { address, replica, worlds, version, departed } = card
    const status = departed ? 'left' : membership.status(serverId)
    const isSelf = serverId === self
    return { serverId, status, self: isSelf, linked: links.has(serverId), address, replica, worlds, version }
  })
  return members.sort((left, right) => (left.serverId < right.serverId ? -1 : 1))
}

interface NodeFacts {
  readonly config: NodeConfig
  readonly replica: ReplicaId
  readonly address: string
  readonly journal: NodeStatus['journal']
  readonly numberingHeld: boolean
  readonly links: number
  readonly members: number
  readonly partitions: Iterable<Partition>
  readonly unnumbered: (partition: Partition) => number
  readonly transfers: NodeStatus['transfers']
  readonly uptimeMs: number
}

export function describeNode({ config, partitions, unnumbered, ...facts }: NodeFacts): NodeStatus {
  const { serverId, clusterId, durability } = config
  const described = [...partitions].map((partition) => describePartition(partition, unnumbered(partition)))
  return { serverId, clusterId, durability, ...facts, partitions: described }
}

function describePartition(partition: Partition, unnumbered: number): PartitionStatus {
  const states = partition.replicas().filter(({ known }) => known > 0)
  return {
    partition: partition.name,
    cells: partition.table.cellCount,
    entries: partition.table.entryCount,
    versionVector: Object.fromEntries(states.map(({ replica, known }) => [replica, known])),
    settled: states.every(isSettled),
    unnumbered,
    checksum: states.reduce((sum, { checksum }) => (sum + checksum) | 0, 0),
  }
}
