import type { RaftCore } from './core.js'
import { quorumActive } from './quorum.js'
import { broadcastHeartbeat, synchroniseProgress } from './replication.js'
import { becomeFollower, becomeLeader } from './roles.js'

/**
 * Opens the new term with a no-op: entries of earlier terms are committed only together with one of its own
 * (Raft paper 5.4.2), and reads wait for that.
 */
export function assumeLeadership(core: RaftCore): void {
  becomeLeader(core)
  synchroniseProgress(core)
  core.appendOwn([{ kind: 'no-op' }])
}

/** One tick of a leader: heartbeats, and stepping down when it cannot know any more that it leads. */
export function tickLeader(core: RaftCore): void {
  const { voters } = core.membership.current
  if (!quorumActive(voters, (voter) => core.isActive(voter))) {
    becomeFollower(core, core.term, undefined)
    return
  }
  if (core.transfer !== undefined && core.ticks - core.transfer.sinceTick >= core.options.electionTicks) {
    core.transfer = undefined
  }
  core.heartbeatElapsed += 1
  if (core.heartbeatElapsed >= core.options.heartbeatTicks) {
    core.heartbeatElapsed = 0
    broadcastHeartbeat(core, false)
  }
}
