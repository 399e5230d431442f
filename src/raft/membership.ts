import { type Configuration, changed, type MembershipChange } from './configuration.js'
import type { RaftCore } from './core.js'
import { quorumActive } from './quorum.js'
import type { Refusal } from './refusals.js'
import { synchroniseProgress } from './replication.js'

/**
 * One change at a time: the last one must be applied, and this leader must have committed in its own term,
 * else two leaders could each count a majority of memberships that share no server (Ongaro's correction of
 * 2015 to thesis 4.1).
 */
export function appendChange(core: RaftCore, change: MembershipChange): number | Refusal {
  if (!core.mutations.allowConcurrentChanges) {
    if (!core.committedInTerm) return 'not-committed-in-term'
    if (core.membership.currentIndex > core.log.applied) return 'change-pending'
  }
  const configuration = changed(core.membership.current, change, core.options.maxVoters)
  if (typeof configuration === 'string') return configuration
  const refusal = refusalForSafety(core, change, configuration)
  if (refusal !== undefined) return refusal
  const index = core.appendOwn([{ kind: 'configuration', configuration }])
  synchroniseProgress(core)
  return index
}

/** What would be legal but would stop the group from committing anything. */
function refusalForSafety(
  core: RaftCore,
  change: MembershipChange,
  configuration: Configuration,
): Refusal | undefined {
  if (core.mutations.allowConcurrentChanges) return undefined
  if (change.kind === 'promote') {
    const match = core.progress.get(change.node)?.match ?? 0
    if (!core.isActive(change.node)) return 'learner-behind'
    if (core.log.lastIndex - match > core.options.promotionLagEntries) return 'learner-behind'
  }
  if (change.kind === 'add-learner') return undefined
  return quorumActive(configuration.voters, (voter) => core.isActive(voter)) ? undefined : 'would-lose-quorum'
}
