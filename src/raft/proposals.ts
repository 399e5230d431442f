import type { RaftCore } from './core.js'
import { appendChange } from './membership.js'
import type { Proposal, ProposalAnswer, Propose, ProposeResponse } from './messages.js'
import { ENTRY_OVERHEAD_BYTES } from './types.js'

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
  const requestId = core.requests.nextId()
  core.requests.add(requestId, { kind: 'proposal', bytes, sinceTick: core.ticks })
  core.send({ type: 'propose', to: core.leader, requestId, proposal })
  return { status: 'forwarded', requestId }
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
export function handlePropose(core: RaftCore, { from, requestId, proposal }: Propose): void {
  const answer: ProposalAnswer = core.isLeader
    ? appendProposal(core, proposal)
    : { status: 'refused', reason: 'not-leader' }
  core.send({ type: 'propose-response', to: from, requestId, answer })
}

export function handleProposeResponse(core: RaftCore, { requestId, answer }: ProposeResponse): void {
  if (core.requests.take(requestId) === undefined) return
  core.outbox.proposalOutcomes.push({ requestId, ...answer })
}
