import type { RaftCore } from './core.js'
import type { ReadRequest, ReadResponse } from './messages.js'
import type { Refusal } from './refusals.js'
import { broadcastHeartbeat } from './replication.js'
import type { NodeId } from './types.js'

/** `pending`: a `ReadOutcome` with this id follows, whatever happens. */
export type ReadResult =
  | { readonly status: 'pending'; readonly requestId: string }
  | { readonly status: 'refused'; readonly reason: Refusal }

export function requestRead(core: RaftCore): ReadResult {
  if (core.requests.count >= core.options.maxPendingRequests)
    return { status: 'refused', reason: 'overloaded' }
  const requestId = core.requests.nextId()
  if (core.isLeader) {
    const refusal = queueRead(core, core.id, requestId)
    return refusal === undefined ? { status: 'pending', requestId } : { status: 'refused', reason: refusal }
  }
  if (core.leader === undefined) return { status: 'refused', reason: 'no-leader' }
  core.requests.add(requestId, { kind: 'read', bytes: 0, sinceTick: core.ticks })
  core.send({ type: 'read', to: core.leader, requestId })
  return { status: 'pending', requestId }
}

function queueRead(core: RaftCore, requester: NodeId, requestId: string): Refusal | undefined {
  if (core.mutations.serveStaleReads) {
    answerRead(core, requester, requestId, core.log.committed)
    return undefined
  }
  if (!core.committedInTerm) return 'not-committed-in-term'
  if (core.reads.length >= core.options.maxPendingRequests) return 'overloaded'
  core.reads.add(core.log.committed, requester, requestId)
  return undefined
}

function answerRead(core: RaftCore, requester: NodeId, requestId: string, index: number): void {
  if (requester === core.id) core.outbox.readOutcomes.push({ requestId, status: 'confirmed', index })
  else core.send({ type: 'read-response', to: requester, requestId, answer: { status: 'confirmed', index } })
}

export function handleRead(core: RaftCore, { from, requestId }: ReadRequest): void {
  const reason = core.isLeader ? queueRead(core, from, requestId) : 'not-leader'
  if (reason === undefined) return
  core.send({ type: 'read-response', to: from, requestId, answer: { status: 'refused', reason } })
}

export function handleReadResponse(core: RaftCore, { requestId, answer }: ReadResponse): void {
  if (core.requests.take(requestId) === undefined) return
  core.outbox.readOutcomes.push({ requestId, ...answer })
}

/** Starts the round that new reads wait for and releases those whose round a majority has echoed. */
export function flushReads(core: RaftCore): void {
  if (core.reads.beginRound()) broadcastHeartbeat(core, true)
  for (const read of core.reads.takeConfirmed(core.membership.current.voters, core.id)) {
    answerRead(core, read.requester, read.requestId, read.index)
  }
}
