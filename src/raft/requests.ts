import type { RaftCore } from './core.js'
import type { PendingRequest } from './pending-requests.js'

/**
 * Gives up requests that went to a leader. A read changes nothing, so it is refused; a proposal had left,
 * so what becomes of it is unknown.
 */
export function failPendingRequests(
  core: RaftCore,
  reason: 'leader-changed' | 'timed-out',
  requests: readonly [string, PendingRequest][],
): void {
  for (const [requestId, request] of requests) {
    if (request.kind === 'read') core.outbox.readOutcomes.push({ requestId, status: 'refused', reason })
    else core.outbox.proposalOutcomes.push({ requestId, status: 'unknown', reason })
  }
}
