import type { RaftCore } from './core.js'
import { failPendingRequests } from './requests.js'
import type { NodeId, Role } from './types.js'

/** Common to every change of role: nothing of the old role may survive into the new one. */
function enterRole(core: RaftCore, role: Role, leader: NodeId | undefined): void {
  const leaderIsGone = core.leader !== undefined && core.leader !== leader
  core.role = role
  core.leader = leader
  core.electionElapsed = 0
  core.heartbeatElapsed = 0
  core.votes.clear()
  core.progress.clear()
  core.transfer = undefined
  core.drawElectionTimeout()
  for (const read of core.reads.reset()) {
    // Remote requesters learn of the change of leader by themselves.
    if (read.requester !== core.id) continue
    core.outbox.readOutcomes.push({ requestId: read.requestId, status: 'refused', reason: 'leader-changed' })
  }
  if (leaderIsGone) failPendingRequests(core, 'leader-changed', core.requests.takeAll())
}

function enterTerm(core: RaftCore, term: number): void {
  if (term === core.term) return
  core.term = term
  core.vote = undefined
}

export function becomeFollower(core: RaftCore, term: number, leader: NodeId | undefined): void {
  enterTerm(core, term)
  enterRole(core, 'follower', leader)
}

/** Asks without touching term or vote. */
export function becomePreCandidate(core: RaftCore): void {
  enterRole(core, 'pre-candidate', undefined)
}

export function becomeCandidate(core: RaftCore): void {
  enterTerm(core, core.term + 1)
  enterRole(core, 'candidate', undefined)
  core.vote = core.id
}

export function becomeLeader(core: RaftCore): void {
  enterRole(core, 'leader', core.id)
}

/** The leader has spoken: a follower keeps to it and postpones its own candidacy. */
export function followLeader(core: RaftCore, leader: NodeId): void {
  if (core.role !== 'follower' || core.leader !== leader) {
    becomeFollower(core, core.term, leader)
  } else {
    core.electionElapsed = 0
  }
}
