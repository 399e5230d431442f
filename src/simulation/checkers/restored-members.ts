import { StrongGroup } from '../../strong/strong-group.js'
import type { CreateChecker } from './checker.js'

/**
 * The known limit of RAFT-9: a member from a backup goes on as the one it was, since nobody whom it has heard knew
 * of anything later. What the group has promised may be broken from here on, so the run ends without a verdict.
 */
export const restoredMembers: CreateChecker = (run) => {
  // Without a group nothing was promised, and the rest of the run is worth its verdict.
  if (run.options.founder === undefined) return { invariants: [] }
  const memberOf = new Map<string, string>()
  const restored = new Map<string, string>()
  run.onRestored((server) => {
    const name = run.options.names[server]!
    const member = memberOf.get(name)
    if (member !== undefined) restored.set(name, member)
  })
  run.override(StrongGroup.prototype, 'start', (original) => {
    return function (this: StrongGroup, node, entry) {
      const { serverId } = (this as unknown as { options: { serverId: string } }).options
      if (restored.get(serverId) === node) run.endWithout(`${serverId} takes part as before its backup`)
      restored.delete(serverId)
      memberOf.set(serverId, node)
      original.call(this, node, entry)
    }
  })
  return { invariants: [] }
}
