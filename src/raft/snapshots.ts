import type { RaftCore } from './core.js'
import type { SnapshotChunk, SnapshotResponse } from './messages.js'
import type { Progress } from './progress.js'
import { followLeader } from './roles.js'
import type { NodeId } from './types.js'

/** What the follower needs is compacted away. Nothing is sent to one that is not there to receive it. */
export function startSnapshot(core: RaftCore, to: NodeId, progress: Progress): void {
  if (!core.isActive(to)) {
    progress.probeSent = true
    return
  }
  progress.becomeSnapshot(core.snapshot, core.ticks)
  askHost(core, to, progress)
}

function askHost(core: RaftCore, to: NodeId, progress: Progress): void {
  const transfer = progress.transfer!
  transfer.waitingFor = 'host'
  transfer.sinceTick = core.ticks
  core.outbox.snapshotReads.push({
    to,
    snapshot: transfer.metadata,
    offset: transfer.offset,
    maxBytes: core.options.snapshotChunkBytes,
  })
}

export interface ProvidedChunk {
  readonly to: NodeId
  readonly snapshotIndex: number
  readonly offset: number
  readonly data: Uint8Array
  /** Nothing follows `data`. */
  readonly last: boolean
}

/** The host has read what it was asked for; ignored when the transfer has moved on meanwhile. */
export function sendSnapshotChunk(core: RaftCore, chunk: ProvidedChunk): void {
  const transfer = core.progress.get(chunk.to)?.transfer
  if (!core.isLeader || transfer?.waitingFor !== 'host') return
  if (transfer.metadata.index !== chunk.snapshotIndex || transfer.offset !== chunk.offset) return
  const { data, offset, last } = chunk
  core.send({ type: 'snapshot', to: chunk.to, snapshot: transfer.metadata, offset, data, last })
  transfer.waitingFor = 'peer'
  transfer.sentTo = offset + data.length
  transfer.sinceTick = core.ticks
}

/** The host no longer has that snapshot: start over with the latest once the follower is heard from. */
export function abandonSnapshot(core: RaftCore, to: NodeId, snapshotIndex: number): void {
  const progress = core.progress.get(to)
  if (!core.isLeader || progress?.transfer?.metadata.index !== snapshotIndex) return
  progress.becomeProbe()
  progress.probeSent = true
}

export function handleSnapshotResponse(core: RaftCore, message: SnapshotResponse): void {
  const progress = core.progress.get(message.from)
  if (!core.isLeader || progress === undefined) return
  progress.lastActiveTick = core.ticks
  const { transfer } = progress
  if (transfer?.waitingFor !== 'peer' || transfer.metadata.index !== message.snapshotIndex) return
  // An old acknowledgement moves nothing; a refusal says where the follower really stands, which may be ahead
  // when an old refusal has sent the transfer back.
  if (!message.rejected && message.nextOffset !== transfer.sentTo) return
  transfer.offset = message.nextOffset
  askHost(core, message.from, progress)
}

/** The follower answers heartbeats but not the chunk: it, or the answer, was lost. */
export function resumeSnapshot(core: RaftCore, to: NodeId, progress: Progress): void {
  const transfer = progress.transfer!
  if (transfer.waitingFor !== 'peer') return
  if (core.ticks - transfer.sinceTick >= core.options.electionTicks) askHost(core, to, progress)
}

export function handleSnapshotChunk(core: RaftCore, message: SnapshotChunk): void {
  followLeader(core, message.from)
  const { snapshot, offset } = message
  if (snapshot.index <= core.log.committed || core.log.matches(snapshot.index, snapshot.term)) {
    // Everything in it is here already.
    core.log.commitTo(snapshot.index)
    acknowledgeLog(core, message.from, core.log.committed)
    return
  }
  const expected = expectedOffset(core, message)
  if (offset !== expected) {
    answerChunk(core, message, true, expected)
    return
  }
  takeChunk(core, message)
}

/** A snapshot is recognised by who sends it in which term: another sender's bytes may be cut differently. */
function expectedOffset(core: RaftCore, { from, term, snapshot }: SnapshotChunk): number {
  const { incoming } = core
  const same =
    incoming?.from === from &&
    incoming.term === term &&
    incoming.snapshot.index === snapshot.index &&
    incoming.snapshot.term === snapshot.term
  return same ? incoming.nextOffset : 0
}

function takeChunk(core: RaftCore, message: SnapshotChunk): void {
  const { from, term, snapshot, offset, data, last } = message
  core.outbox.chunks.push({ snapshot, offset, data, last })
  if (!last) {
    core.incoming = { from, term, snapshot, nextOffset: offset + data.length }
    answerChunk(core, message, false, core.incoming.nextOffset)
    return
  }
  core.incoming = undefined
  core.log.restore(snapshot)
  core.membership.restore(snapshot.index, snapshot.configuration)
  core.snapshot = snapshot
  acknowledgeLog(core, from, snapshot.index)
}

function answerChunk(core: RaftCore, message: SnapshotChunk, rejected: boolean, nextOffset: number): void {
  const snapshotIndex = message.snapshot.index
  core.send({ type: 'snapshot-response', to: message.from, snapshotIndex, rejected, nextOffset })
}

function acknowledgeLog(core: RaftCore, to: NodeId, index: number): void {
  core.send({ type: 'append-response', to, rejected: false, index, hintIndex: 0, hintTerm: 0 })
}
