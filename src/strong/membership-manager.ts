import type { MembershipChange } from '../raft/configuration.js'
import type { RaftStatus } from '../raft/status.js'
import { type ReplicaId, serverOfReplica } from '../sync/identity.js'

/** A server as the leader sees it. */
export interface ServerView {
  readonly serverId: string
  /** The replica it writes as now; an older one of the same server is gone for good. */
  readonly replica: ReplicaId
  readonly alive: boolean
  /** Left the mesh for good. */
  readonly departed: boolean
  /** Keeps nothing on disk. */
  readonly memoryOnly: boolean
}

export interface MembershipPolicy {
  readonly maxVoters: number
  /** A voter is replaced when it has been gone for so long. */
  readonly voterGraceMs: number
}

/**
 * Decides, at the leader, the next change of the Raft membership, one at a time: every server becomes a
 * learner; an odd number of them, up to `maxVoters`, voters; one that is gone for good gives its place to a
 * learner while there still is a quorum; replicas that no longer exist are removed. Pure.
 */
export class MembershipManager {
  private readonly goneSinceMs = new Map<ReplicaId, number>()

  constructor(private readonly policy: MembershipPolicy) {}

  /** The change to propose now, or undefined. Call now and then; only while `status` is a leader's. */
  next(status: RaftStatus, servers: readonly ServerView[], nowMs: number): MembershipChange | undefined {
    const { voters, learners } = status.configuration
    const current = new Map(servers.map((server) => [server.replica, server]))
    this.watch([...voters, ...learners], current, nowMs)
    return (
      this.addition(status, servers) ??
      this.promotion(status, current) ??
      this.replacement(status, current, nowMs) ??
      this.removal(status, servers, current)
    )
  }

  private addition({ configuration: { voters, learners } }: RaftStatus, servers: readonly ServerView[]) {
    const newcomer = servers.find(
      ({ replica, alive, departed }) =>
        alive && !departed && !voters.includes(replica) && !learners.includes(replica),
    )
    return newcomer && change('add-learner', newcomer.replica)
  }

  /** Voters come in odd numbers: an even one adds a failure but no tolerance. Two are passed on the way. */
  private promotion(status: RaftStatus, current: ReadonlyMap<ReplicaId, ServerView>) {
    const { voters } = status.configuration
    const candidates = this.candidates(status, current)
    const possible = Math.min(this.policy.maxVoters, voters.length + candidates.length)
    const wanted = possible % 2 === 0 ? possible - 1 : possible
    if (voters.length >= wanted || candidates.length === 0) return undefined
    return change('promote', candidates[0]!)
  }

  /** A voter gone for good makes room, at the limit by removal first; its successor is promoted next. */
  private replacement(status: RaftStatus, current: ReadonlyMap<ReplicaId, ServerView>, nowMs: number) {
    const { voters } = status.configuration
    const gone = voters.find((voter) => voter !== status.id && this.isGone(voter, nowMs))
    if (gone === undefined) return undefined
    // An even number of voters: the successor is in already.
    if (voters.length % 2 === 0) return change('demote', gone)
    const [successor] = this.candidates(status, current)
    if (successor === undefined) return undefined
    return voters.length < this.policy.maxVoters ? change('promote', successor) : change('demote', gone)
  }

  private removal(
    { id, configuration: { voters, learners } }: RaftStatus,
    servers: readonly ServerView[],
    current: ReadonlyMap<ReplicaId, ServerView>,
  ) {
    const servesAs = new Map(servers.map(({ serverId, replica }) => [serverId, replica]))
    const isObsolete = (node: ReplicaId) => {
      const now = servesAs.get(serverOfReplica(node))
      return node !== id && ((now !== undefined && now !== node) || current.get(node)?.departed === true)
    }
    const obsolete = [...learners, ...voters].find(isObsolete)
    return obsolete === undefined ? undefined : change('remove', obsolete)
  }

  /** Learners that could vote: alive, close behind, on disk (or nobody is). Sorted, so that leaders agree. */
  private candidates(status: RaftStatus, current: ReadonlyMap<ReplicaId, ServerView>): ReplicaId[] {
    const { voters, learners } = status.configuration
    const onlyMemory = voters.every((voter) => current.get(voter)?.memoryOnly ?? false)
    return learners.filter((learner) => {
      const server = current.get(learner)
      if (!server?.alive || server.departed || (server.memoryOnly && !onlyMemory)) return false
      const member = status.members.find(({ node }) => node === learner)
      return member?.active === true && member.state === 'replicate' && member.match + 64 >= status.commit
    })
  }

  private isGone(voter: ReplicaId, nowMs: number): boolean {
    const since = this.goneSinceMs.get(voter)
    return since !== undefined && nowMs - since >= this.policy.voterGraceMs
  }

  private watch(
    members: readonly ReplicaId[],
    current: ReadonlyMap<ReplicaId, ServerView>,
    nowMs: number,
  ): void {
    for (const member of members) {
      const server = current.get(member)
      if (server?.alive && !server.departed) this.goneSinceMs.delete(member)
      else if (!this.goneSinceMs.has(member)) this.goneSinceMs.set(member, nowMs)
    }
    for (const member of this.goneSinceMs.keys())
      if (!members.includes(member)) this.goneSinceMs.delete(member)
  }
}

function change(kind: MembershipChange['kind'], node: ReplicaId): MembershipChange {
  return { kind, node }
}
