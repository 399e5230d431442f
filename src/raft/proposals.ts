import type { RaftCore } from './core.js'
import { appendChange } from './membership.js'
import type { Proposal, ProposalAnswer, Propose, ProposeResponse } from './messages.js'
import { batchedId } from './pending-requests.js'
import { ENTRY_OVERHEAD_BYTES, type NodeId } from './types.js'

/** `accepted` here, or sent on to the leader: then a `ProposalOutcome` with this id follows. */
export type ProposeResult = ProposalAnswer | { readonly status: 'forwarded'; readonly requestId: string }

export function propose(core: RaftCore, proposal: Proposal): ProposeResult {
  if (core.isLeader) return appendProposal(core, proposal)
  const bytes = proposal.kind === 'command' ? proposal.data.length : ENTRY_OVERHEAD_BYTES
  if (bytes > core.options.maxEntryBytes) return { status: 'refused', reason: 'too-large' }
  if (core.leader === undefined) return { status: 'refused', reason: 'no-leader' }
  const { maxPendingRequests, maxForwardedBytes } = core.options
  if (core.requests.count >= maxPendingRequests || core.requests.bytes + bytes > maxForwardedBytes) {
    return { status: 'refused', reason: 'overloaded' }
  }
  const requestId = forward(core, core.leader, proposal, bytes)
  core.requests.add(requestId, { kind: 'proposal', bytes, sinceTick: core.ticks })
  return { status: 'forwarded', requestId }
}

/** With the others that go in the same `Ready`: a message for each would cost several times as much. */
function forward(core: RaftCore, leader: NodeId, proposal: Proposal, bytes: number): string {
  const { maxAppendBytes, maxAppendEntries } = core.options
  const open = core.outbox.proposals
  const size = ENTRY_OVERHEAD_BYTES + bytes
  if (
    open?.to === leader &&
    open.bytes + size <= maxAppendBytes &&
    open.proposals.length < maxAppendEntries
  ) {
    open.bytes += size
    return batchedId(open.requestId, open.proposals.push(proposal) - 1)
  }
  const requestId = core.requests.nextId()
  const proposals = [proposal]
  core.send({ type: 'propose', to: leader, requestId, proposals })
  core.outbox.proposals = { to: leader, requestId, proposals, bytes: size }
  return requestId
}

/** The leader's side, for its own proposals and for forwarded ones. */
function appendProposal(core: RaftCore, proposal: Proposal): ProposalAnswer {
  const { maxEntryBytes, maxUncommittedBytes } = core.options
  // A leader on its way out takes nothing more (thesis 4.2.2).
  if (!core.isVoter) return { status: 'refused', reason: 'not-leader' }
  if (core.transfer !== undefined) return { status: 'refused', reason: 'transferring-leadership' }
  const { term } = core
  if (proposal.kind === 'change') {
    const index = appendChange(core, proposal.change)
    return typeof index === 'number'
      ? { status: 'accepted', index, term }
      : { status: 'refused', reason: index }
  }
  if (proposal.data.length > maxEntryBytes) return { status: 'refused', reason: 'too-large' }
  if (core.log.uncommittedBytes + proposal.data.length > maxUncommittedBytes) {
    return { status: 'refused', reason: 'overloaded' }
  }
  return { status: 'accepted', index: core.appendOwn([proposal]), term }
}

/** A forwarded proposal is never forwarded again: it would chase leaders round in circles. */
export function handlePropose(core: RaftCore, { from, requestId, proposals }: Propose): void {
  const answers = proposals.map(
    (proposal): ProposalAnswer =>
      core.isLeader ? appendProposal(core, proposal) : { status: 'refused', reason: 'not-leader' },
  )
  core.send({ type: 'propose-response', to: from, requestId, answers })
}

export function handleProposeResponse(core: RaftCore, { requestId, answers }: ProposeResponse): void {
  for (let position = 0; position < answers.length; position++) {
    const id = batchedId(requestId, position)
    const answer = answers[position]!
    if (core.requests.take(id) === undefined) continue
    core.outbox.proposalOutcomes.push(
      answer.status === 'accepted'
        ? { requestId: id, status: 'accepted', index: answer.index, term: answer.term }
        : { requestId: id, status: 'refused', reason: answer.reason },
    )
  }
}
