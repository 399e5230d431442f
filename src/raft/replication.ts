import { members } from './configuration.js'
import type { RaftCore } from './core.js'
import type { AppendResponse, HeartbeatResponse } from './messages.js'
import type { Progress } from './progress.js'
import { quorumValue } from './quorum.js'
import { becomeFollower } from './roles.js'
import { resumeSnapshot, startSnapshot } from './snapshots.js'
import { handOverIfCaughtUp } from './transfer.js'
import { type Entry, entryBytes, type NodeId } from './types.js'

/** Keeps exactly one `Progress` per member of the membership in force. */
export function synchroniseProgress(core: RaftCore): void {
  const current = new Set(members(core.membership.current))
  for (const node of core.progress.keys()) {
    if (!current.has(node)) core.progress.delete(node)
  }
  for (const node of current) {
    if (!core.progress.has(node)) core.progress.set(node, core.newProgress())
  }
}

/** Sends each follower what its window allows. */
export function flushAppends(core: RaftCore): void {
  for (const [node, progress] of core.progress) {
    if (node === core.id) continue
    while (sendAppend(core, node, progress, false)) {
      // Until nothing is left or the window is full.
    }
  }
}

/** What `node` may be told to be committed and was not: no more than it is known to hold. */
function unannouncedCommit(core: RaftCore, node: NodeId, progress: Progress): number | undefined {
  if (node === core.id || progress.state !== 'replicate') return undefined
  const knowable = Math.min(core.log.committed, progress.match)
  return knowable > progress.sentCommit ? knowable : undefined
}

export function hasUnannouncedCommit(core: RaftCore): boolean {
  if (!core.isLeader) return false
  for (const [node, progress] of core.progress) {
    if (unannouncedCommit(core, node, progress) !== undefined) return true
  }
  return false
}

/** News of commitment for those whom no append has told. It may get lost: heartbeats say it too. */
export function announceCommit(core: RaftCore): void {
  if (!core.isLeader) return
  for (const [node, progress] of core.progress) {
    const commit = unannouncedCommit(core, node, progress)
    if (commit === undefined) continue
    core.send({ type: 'commit', to: node, commit })
    progress.sentCommit = commit
  }
}

/** True when a message with entries has left. `evenIfEmpty` also passes a full window, without entries. */
function sendAppend(core: RaftCore, to: NodeId, progress: Progress, evenIfEmpty: boolean): boolean {
  if (progress.state === 'snapshot' || (progress.state === 'probe' && progress.probeSent)) return false
  if (progress.paused && !evenIfEmpty) return false
  const previousIndex = progress.next - 1
  const previousTerm = core.log.termAt(previousIndex)
  if (previousTerm === undefined) {
    startSnapshot(core, to, progress)
    return false
  }
  const { maxAppendEntries, maxAppendBytes } = core.options
  const entries = progress.paused ? [] : core.log.slice(progress.next, maxAppendEntries, maxAppendBytes)
  // A probe is sent even without entries: it is how the leader finds out where the logs agree.
  if (entries.length === 0 && !evenIfEmpty && progress.state !== 'probe') return false
  const commit = core.log.committed
  core.send({ type: 'append', to, previousIndex, previousTerm, entries, commit })
  const lastIndex = previousIndex + entries.length
  progress.sentCommit = Math.min(commit, lastIndex)
  progress.sent(lastIndex, entries.length, bytesOf(entries))
  return entries.length > 0
}

function bytesOf(entries: readonly Entry[]): number {
  let bytes = 0
  for (const entry of entries) bytes += entryBytes(entry)
  return bytes
}

/** With `votersOnly` it serves a read round; learners have no say in it. */
export function broadcastHeartbeat(core: RaftCore, votersOnly: boolean): void {
  const { voters } = core.membership.current
  for (const [node, progress] of core.progress) {
    if (node === core.id || (votersOnly && !voters.includes(node))) continue
    const commit = Math.min(progress.match, core.log.committed)
    core.send({ type: 'heartbeat', to: node, commit, readSequence: core.reads.sequence })
  }
}

export function handleAppendResponse(core: RaftCore, message: AppendResponse): void {
  const progress = core.progress.get(message.from)
  if (!core.isLeader || progress === undefined) return
  progress.lastActiveTick = core.ticks
  // Beyond the own log nobody can have acknowledged anything in this term.
  if (message.index > core.log.lastIndex) return
  if (message.rejected) {
    const { index } = core.log.findConflict(message.hintIndex, message.hintTerm)
    progress.rejected(message.index, index)
    return
  }
  const isNews = progress.acknowledged(message.index)
  if (!isNews && !answersWhatWasOpen(progress, message.index)) return
  if (progress.state === 'replicate') progress.inflights.freeTo(message.index)
  else if (progress.match >= core.log.baseIndex) progress.becomeReplicate()
  // The log was compacted past the snapshot while that was under way: on with a later one.
  else if (progress.match >= (progress.transfer?.metadata.index ?? 0)) progress.becomeProbe()
  advanceCommit(core)
  handOverIfCaughtUp(core)
}

/** A probe that found nothing new, or a snapshot that has arrived: no news of the log, but of the state. */
function answersWhatWasOpen(progress: Progress, index: number): boolean {
  if (progress.state === 'probe') return index === progress.match
  return progress.transfer !== undefined && index >= progress.transfer.metadata.index
}

/**
 * A heartbeat got through, so what was sent and not answered may have been lost: ask again, without entries
 * when the window is full. The refusal of a follower that misses something starts the repair.
 */
export function handleHeartbeatResponse(core: RaftCore, message: HeartbeatResponse): void {
  const progress = core.progress.get(message.from)
  if (!core.isLeader || progress === undefined) return
  progress.lastActiveTick = core.ticks
  core.reads.echo(message.from, message.readSequence)
  progress.probeSent = false
  if (progress.state === 'snapshot') resumeSnapshot(core, message.from, progress)
  else if (progress.match < core.log.lastIndex) sendAppend(core, message.from, progress, true)
}

/** The host could not deliver to `node`: stop pipelining into the void. */
export function handleUnreachable(core: RaftCore, node: NodeId): void {
  const progress = core.progress.get(node)
  if (core.isLeader && progress?.state === 'replicate') {
    progress.becomeProbe()
    progress.probeSent = true
  }
}

/**
 * Commits what a majority holds, if it is of the own term; what came before is committed with it. Counting
 * replicas of older entries is unsafe: a later leader may still overwrite them (Raft paper, figure 8).
 */
export function advanceCommit(core: RaftCore): void {
  if (!core.isLeader) return
  const { voters } = core.membership.current
  const own = core.mutations.acknowledgeBeforePersist ? core.log.lastIndex : core.log.persisted
  const index = quorumValue(voters, (voter) =>
    voter === core.id ? own : (core.progress.get(voter)?.match ?? 0),
  )
  if (!core.mutations.countOldTermEntries && core.log.termAt(index) !== core.term) return
  if (core.log.commitTo(index)) stepDownIfNoLongerVoter(core)
}

/** A leader that has committed its own removal tells the others and goes (thesis 4.2.2). */
function stepDownIfNoLongerVoter(core: RaftCore): void {
  if (core.isVoter || core.log.committed < core.membership.currentIndex) return
  flushAppends(core)
  announceCommit(core)
  becomeFollower(core, core.term, undefined)
}
