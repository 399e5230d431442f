import type { Configuration } from './configuration.js'
import type { RaftCore } from './core.js'
import type { ProgressState } from './progress.js'
import type { NodeId, Role } from './types.js'

/** What the leader knows of one member. */
interface MemberStatus {
  readonly node: NodeId
  readonly match: number
  readonly next: number
  readonly state: ProgressState
  readonly active: boolean
  /** Messages without an answer. */
  readonly inflight: number
  /** Index of the snapshot on its way, and how far it has come. */
  readonly snapshot: { readonly index: number; readonly offset: number } | undefined
}

/** A copy for people, metrics and the host's compaction. */
export interface RaftStatus {
  readonly id: NodeId
  readonly role: Role
  readonly term: number
  readonly vote: NodeId | undefined
  readonly leader: NodeId | undefined
  readonly commit: number
  readonly applied: number
  readonly persisted: number
  readonly firstIndex: number
  readonly lastIndex: number
  readonly logBytes: number
  readonly uncommittedBytes: number
  readonly snapshotIndex: number
  readonly configuration: Configuration
  /** The configuration's entry is applied, so that a further change may be asked for. */
  readonly configurationSettled: boolean
  readonly committedInTerm: boolean
  readonly transferTarget: NodeId | undefined
  readonly pendingRequests: number
  /** At the leader, sorted by node; else empty. */
  readonly members: readonly MemberStatus[]
}

export function statusOf(core: RaftCore): RaftStatus {
  const { log } = core
  return {
    id: core.id,
    role: core.role,
    term: core.term,
    vote: core.vote,
    leader: core.leader,
    commit: log.committed,
    applied: log.applied,
    persisted: log.persisted,
    firstIndex: log.firstIndex,
    lastIndex: log.lastIndex,
    logBytes: log.bytes,
    uncommittedBytes: log.uncommittedBytes,
    snapshotIndex: core.snapshot.index,
    configuration: core.membership.current,
    configurationSettled: core.membership.currentIndex <= log.applied,
    committedInTerm: core.isLeader && core.committedInTerm,
    transferTarget: core.transfer?.target,
    pendingRequests: core.requests.count + core.reads.length,
    members: memberStatuses(core),
  }
}

function memberStatuses(core: RaftCore): MemberStatus[] {
  const statuses = [...core.progress].map(([node, progress]) => {
    const { transfer } = progress
    return {
      node,
      match: node === core.id ? core.log.persisted : progress.match,
      next: node === core.id ? core.log.lastIndex + 1 : progress.next,
      state: node === core.id ? ('replicate' as const) : progress.state,
      active: core.isActive(node),
      inflight: progress.inflights.count,
      snapshot: transfer && { index: transfer.metadata.index, offset: transfer.offset },
    }
  })
  return statuses.sort((left, right) => (left.node < right.node ? -1 : 1))
}
