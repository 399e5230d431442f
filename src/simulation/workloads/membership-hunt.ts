import type { MembershipChange } from '../../raft/configuration.js'
import type { RaftStatus } from '../../raft/status.js'
import { serverOfReplica } from '../../sync/identity.js'
import type { SeededRandom } from '../kernel/random.js'
import { strongOf } from '../strong/access.js'
import { Hunt, type Leader } from './hunt.js'
import { strong } from './strong.js'
import type { Workload } from './workload.js'

/** Between two changes that the leader is asked for: the first may have been committed by then, or may not. */
const MAX_PAUSE_MS = 40
/** How long both sides go on by themselves. */
const MIN_CUT_MS = 600
const MAX_CUT_MS = 2_500

/**
 * The strong workload in a group that loses sight of some of its voters, and whose leader is asked at once to give
 * up as many of them as it takes to go on without. One change at a time it must be: by two, both sides would have a
 * majority of their own (Raft thesis 4.1). Afterwards the leader makes all of them voters again.
 */
export const membershipHunt: Workload = {
  ...strong,
  name: 'membership-hunt',
  begin(run) {
    strong.begin(run)
    new MembershipHunt(run, 'membership-hunt').begin()
  },
}

class MembershipHunt extends Hunt {
  protected play(draw: SeededRandom): void {
    this.when(
      () => this.leaders().find(({ status }) => isWhole(status, this.run.cluster.servers.length)),
      (leader) => this.split(leader, draw),
    )
  }

  private split({ server, status }: Leader, draw: SeededRandom): void {
    const others = draw.shuffle(this.run.cluster.servers.filter((other) => other !== server))
    const side = [server, ...others.slice(0, draw.integer(0, 1))]
    this.cutOff(...side)
    const { voters } = status.configuration
    const outside = voters.filter((voter) => side.every(({ name }) => name !== serverOfReplica(voter)))
    let atMs = 0
    for (const node of draw.shuffle(outside)) {
      const change: MembershipChange = { kind: draw.chance(0.8) ? 'demote' : 'remove', node }
      this.after(atMs, () => {
        this.run.cluster.within(server, (within) => strongOf(within).proposeChange(change))
      })
      atMs += draw.uniform() * MAX_PAUSE_MS
    }
    this.after(draw.integer(MIN_CUT_MS, MAX_CUT_MS), () => this.endRound())
  }
}

/** All servers vote and are heard, and the leader may change that. */
function isWhole(status: RaftStatus, servers: number): boolean {
  const { committedInTerm, configuration, configurationSettled, members } = status
  const isReady = committedInTerm && configurationSettled && configuration.voters.length === servers
  return isReady && members.every(({ active }) => active)
}
