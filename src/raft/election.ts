import type { RaftCore } from './core.js'
import { assumeLeadership } from './leadership.js'
import type { PreVote, PreVoteResponse, Vote, VoteResponse } from './messages.js'
import { voteResult } from './quorum.js'
import { becomeCandidate, becomeFollower, becomePreCandidate } from './roles.js'
import type { NodeId } from './types.js'

/** Stands for election, first asking whether it could win so that a lone server never raises the term. */
export function startPreVote(core: RaftCore): void {
  if (!core.mayStand || core.isLeader) return
  becomePreCandidate(core)
  core.votes.set(core.id, true)
  if (decided(core)) return
  for (const voter of core.membership.current.voters) {
    if (voter === core.id) continue
    const { lastIndex, lastTerm } = core.log
    core.send({ type: 'pre-vote', to: voter, term: core.term + 1, lastIndex, lastTerm })
  }
}

/**
 * The real election. The candidate's own vote is a message to itself that waits for the disk like any other:
 * a vote that a crash can forget must not count.
 */
function startElection(core: RaftCore, transfer: boolean): void {
  if (!core.mayStand || core.isLeader) return
  becomeCandidate(core)
  for (const voter of core.membership.current.voters) {
    const { lastIndex, lastTerm } = core.log
    if (voter === core.id) core.send({ type: 'vote-response', to: core.id, granted: true })
    else core.send({ type: 'vote', to: voter, lastIndex, lastTerm, transfer })
  }
}

/** The leader hands over; no pre-vote, since nothing has to be found out. */
export function handleTimeoutNow(core: RaftCore): void {
  if (core.role === 'follower') startElection(core, true)
}

/** Whether a voter has heard from its leader so recently that no election is due (thesis 4.2.3, 6.4.1). */
export function loyalToLeader(core: RaftCore): boolean {
  return core.isLeader || (core.leader !== undefined && core.electionElapsed < core.options.electionTicks)
}

/**
 * A learner votes too when asked: it may have been promoted by an entry that it does not hold yet, and the
 * candidate that counts it must hold that entry.
 */
export function handleVoteRequest(core: RaftCore, message: Vote | PreVote): void {
  const { from, term } = message
  const isReal = message.type === 'vote'
  const free = core.mutations.voteTwice || (core.vote === undefined && core.leader === undefined)
  const mayVote = core.vote === from || free || (!isReal && term > core.term)
  const upToDate = core.log.isUpToDate(message.lastIndex, message.lastTerm) || core.mutations.voteForStaleLogs
  const granted = mayVote && upToDate === true
  if (isReal) {
    core.send({ type: 'vote-response', to: from, granted })
    if (granted) {
      core.electionElapsed = 0
      core.vote = from
    }
  } else {
    // A grant answers in the term that was asked for, since the asker's own is one lower.
    core.send({ type: 'pre-vote-response', to: from, granted, term: granted ? term : core.term })
  }
}

/**
 * A request of an earlier term is refused aloud: left without an answer, a candidate with a lower term and
 * one with a shorter log would wait for each other for ever (etcd 8243).
 */
export function refuseStaleVoteRequest(core: RaftCore, message: Vote | PreVote): void {
  const type = message.type === 'vote' ? 'vote-response' : 'pre-vote-response'
  core.send({ type, to: message.from, granted: false })
}

export function handleVoteResponse(core: RaftCore, message: VoteResponse | PreVoteResponse): void {
  const awaited = core.role === 'pre-candidate' ? 'pre-vote-response' : 'vote-response'
  const isCandidate = core.role === 'pre-candidate' || core.role === 'candidate'
  if (!isCandidate || message.type !== awaited) return
  if (!core.votes.has(message.from)) core.votes.set(message.from, message.granted)
  decided(core)
}

/** Heartbeats that may fail to come before a member stands for a leader to which it has lost the connection. */
const HEARTBEATS_AFTER_LOSS = 2

/** A follower without a connection to its leader: soon a candidate, at a random moment so that not all are at once. */
export function forgetLeader(core: RaftCore, node: NodeId): void {
  if (core.isLeader || core.leader !== node) return
  core.leader = undefined
  const { heartbeatTicks, electionTicks } = core.options
  const spreadTicks = Math.max(1, Math.floor(electionTicks / 3))
  const restTicks = HEARTBEATS_AFTER_LOSS * heartbeatTicks + Math.floor(core.random() * spreadTicks)
  core.electionElapsed = Math.max(core.electionElapsed, core.electionTimeout - restTicks)
}

/** Acts once the votes suffice either way. */
function decided(core: RaftCore): boolean {
  const result = voteResult(core.membership.current.voters, core.votes)
  if (result === 'pending') return false
  if (result === 'lost') becomeFollower(core, core.term, undefined)
  else if (core.role === 'pre-candidate') startElection(core, false)
  else assumeLeadership(core)
  return true
}
