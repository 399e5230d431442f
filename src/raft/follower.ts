import type { RaftCore } from './core.js'
import type { Append, CommitNews, Heartbeat, SnapshotChunk } from './messages.js'
import { followLeader } from './roles.js'

export function handleAppend(core: RaftCore, message: Append): void {
  followLeader(core, message.from)
  const { log } = core
  const acknowledge = (index: number) =>
    core.send({
      type: 'append-response',
      to: message.from,
      rejected: false,
      index,
      hintIndex: 0,
      hintTerm: 0,
    })
  if (message.previousIndex < log.committed) {
    // Old news, perhaps from before a snapshot: what is committed here is the same everywhere.
    acknowledge(log.committed)
    return
  }
  const accepted = log.accept(message.previousIndex, message.previousTerm, message.entries)
  if (accepted === undefined) {
    refuse(core, message)
    return
  }
  if (accepted.truncatedFrom !== undefined) core.membership.truncateFrom(accepted.truncatedFrom)
  core.membership.observe(accepted.added)
  log.commitTo(Math.min(message.commit, accepted.lastNewIndex))
  acknowledge(accepted.lastNewIndex)
}

function refuse(core: RaftCore, message: Append): void {
  const hint = core.log.findConflict(
    Math.min(message.previousIndex, core.log.lastIndex),
    message.previousTerm,
  )
  core.send({
    type: 'append-response',
    to: message.from,
    rejected: true,
    index: message.previousIndex,
    hintIndex: hint.index,
    hintTerm: hint.term,
  })
}

export function handleHeartbeat(core: RaftCore, message: Heartbeat): void {
  followLeader(core, message.from)
  core.log.commitTo(message.commit)
  core.send({ type: 'heartbeat-response', to: message.from, readSequence: message.readSequence })
}

export function handleCommitNews(core: RaftCore, message: CommitNews): void {
  followLeader(core, message.from)
  core.log.commitTo(message.commit)
}

/**
 * A leader of an earlier term is told of the later one. It may be that this node alone has moved on, and
 * without the answer it could neither win an election nor follow (etcd's check-quorum with pre-vote).
 */
export function answerStaleLeader(core: RaftCore, message: Append | Heartbeat | SnapshotChunk): void {
  const { lastIndex, lastTerm } = core.log
  core.send({
    type: 'append-response',
    to: message.from,
    rejected: true,
    index: lastIndex,
    hintIndex: lastIndex,
    hintTerm: lastTerm,
  })
}
