import type { MeshNode } from '../../node/mesh-node.js'
import type { RaftStatus } from '../../raft/status.js'
import type { Server } from '../cluster/server.js'
import type { SeededRandom } from '../kernel/random.js'
import { Hunt } from './hunt.js'
import { strong } from './strong.js'
import type { Workload } from './workload.js'

/** So long two members of three commit while the third one is cut off. */
const MIN_BEHIND_MS = 200
const MAX_BEHIND_MS = 1_000
/** So long the two that do not know of it are alone: enough for links, for numbering to open, and for elections. */
const MIN_ALONE_MS = 3_000
const MAX_ALONE_MS = 5_000

/**
 * The strong workload among three voters: two commit while the third is cut off; then one of the two loses its disk
 * and comes back with an empty one under its old name, while the other, which alone has what was committed, loses
 * its power. Would the emptied one vote as before, it and the third would be a majority that knows nothing of it.
 * Then the one that knows returns, and the emptied server becomes a voter anew.
 */
export const lostDiskHunt: Workload = {
  ...strong,
  name: 'lost-disk-hunt',
  begin(run) {
    strong.begin(run)
    new LostDiskHunt(run, 'lost-disk-hunt').begin()
  },
}

class LostDiskHunt extends Hunt {
  protected play(draw: SeededRandom): void {
    this.when(
      () => this.leaders().find(({ status }) => isWhole(status)),
      ({ server: leader }) => {
        const [behind, follower] = draw.shuffle(
          this.run.cluster.servers.filter((other) => other !== leader),
        ) as [Server<MeshNode>, Server<MeshNode>]
        const [emptied, knowing] = draw.chance(0.5) ? [follower, leader] : [leader, follower]
        this.cutOff(behind)
        this.after(draw.integer(MIN_BEHIND_MS, MAX_BEHIND_MS), () => {
          if (!this.losesItsDisk(emptied)) return this.endRound()
          this.fell(knowing)
          this.heal()
          this.after(draw.integer(MIN_ALONE_MS, MAX_ALONE_MS), () => this.endRound())
        })
      },
    )
  }

  private losesItsDisk(server: Server<MeshNode>): boolean {
    const { cluster } = this.run
    if (!cluster.mayLoseDisk(server.number)) return false
    this.fell(server)
    server.replaceDisk(new Map())
    cluster.diskReplaced(server.number, undefined)
    server.start()
    return true
  }
}

/** All servers vote as who they are now, and are heard. */
function isWhole({ committedInTerm, configuration, members }: RaftStatus): boolean {
  return committedInTerm && configuration.voters.length === 3 && members.every(({ active }) => active)
}
