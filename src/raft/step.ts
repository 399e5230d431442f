import type { RaftCore } from './core.js'
import {
  handleTimeoutNow,
  handleVoteRequest,
  handleVoteResponse,
  loyalToLeader,
  refuseStaleVoteRequest,
  startPreVote,
} from './election.js'
import { answerStaleLeader, handleAppend, handleCommitNews, handleHeartbeat } from './follower.js'
import { tickLeader } from './leadership.js'
import { isTermless, type Message, type MessageType } from './messages.js'
import { handlePropose, handleProposeResponse } from './proposals.js'
import { handleRead, handleReadResponse } from './reads.js'
import { handleAppendResponse, handleHeartbeatResponse } from './replication.js'
import { failPendingRequests } from './requests.js'
import { becomeFollower } from './roles.js'
import { handleSnapshotChunk, handleSnapshotResponse } from './snapshots.js'
import { handleTransferRequest } from './transfer.js'

/** Takes one message. Whatever it was, the state afterwards is consistent; effects wait in the outbox. */
export function step(core: RaftCore, message: Message): void {
  // A message for an earlier incarnation of this server is not for this one.
  if (message.to !== core.id) return
  if (isTermless(message.type) || settleTerm(core, message)) dispatch(core, message)
}

/** Compares terms; false when the message is thereby done with. */
function settleTerm(core: RaftCore, message: Message): boolean {
  if (message.term === core.term) return true
  return message.term > core.term ? settleLaterTerm(core, message) : settleEarlierTerm(core, message)
}

function settleLaterTerm(core: RaftCore, message: Message): boolean {
  switch (message.type) {
    case 'pre-vote':
      return !loyalToLeader(core)
    case 'pre-vote-response':
      if (message.granted) return message.term === core.term + 1
      break
    case 'vote':
      if (loyalToLeader(core) && !message.transfer) return false
      break
    case 'append':
    case 'heartbeat':
    case 'commit':
    case 'snapshot':
      becomeFollower(core, message.term, message.from)
      return true
    default:
  }
  becomeFollower(core, message.term, undefined)
  return true
}

function settleEarlierTerm(core: RaftCore, message: Message): boolean {
  if (message.type === 'vote' || message.type === 'pre-vote') refuseStaleVoteRequest(core, message)
  if (message.type === 'append' || message.type === 'heartbeat' || message.type === 'snapshot') {
    answerStaleLeader(core, message)
  }
  return false
}

const HANDLERS: {
  readonly [T in MessageType]: (core: RaftCore, message: Extract<Message, { type: T }>) => void
} = {
  'pre-vote': handleVoteRequest,
  'pre-vote-response': handleVoteResponse,
  vote: handleVoteRequest,
  'vote-response': handleVoteResponse,
  append: handleAppend,
  'append-response': handleAppendResponse,
  heartbeat: handleHeartbeat,
  commit: handleCommitNews,
  'heartbeat-response': handleHeartbeatResponse,
  snapshot: handleSnapshotChunk,
  'snapshot-response': handleSnapshotResponse,
  'timeout-now': handleTimeoutNow,
  propose: handlePropose,
  'propose-response': handleProposeResponse,
  read: handleRead,
  'read-response': handleReadResponse,
  transfer: handleTransferRequest,
}

function dispatch(core: RaftCore, message: Message): void {
  const handler = HANDLERS[message.type] as (core: RaftCore, message: Message) => void
  handler(core, message)
}

/** One tick of time. */
export function tick(core: RaftCore): void {
  core.ticks += 1
  const { requestTimeoutTicks, electionTicks } = core.options
  failPendingRequests(core, 'timed-out', core.requests.takeOlderThan(core.ticks - requestTimeoutTicks))
  if (core.isLeader) {
    tickLeader(core)
    return
  }
  core.electionElapsed += 1
  if (core.electionElapsed < core.electionTimeout) return
  if (core.mayStand) startPreVote(core)
  // A learner cannot stand, but it must not go on asking a leader that is silent.
  else if (core.leader !== undefined && core.electionElapsed >= 2 * electionTicks) {
    becomeFollower(core, core.term, undefined)
  }
}
