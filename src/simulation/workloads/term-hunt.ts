import type { MeshNode } from '../../node/mesh-node.js'
import type { RaftStatus } from '../../raft/status.js'
import type { Server } from '../cluster/server.js'
import type { SeededRandom } from '../kernel/random.js'
import { Hunt } from './hunt.js'
import { strong } from './strong.js'
import type { Workload } from './workload.js'

/** So soon the leader falls that has entries of an old term to send on, one by one. */
const STRUCK_WITHIN_ROUND_TRIPS = 8

/**
 * The strong workload in the history of figure 8 of the Raft paper, again and again with other delays. A leader is
 * cut off with entries that only it has; the next one with nothing but the first entry of its own term, and then
 * loses its power; the former one leads again, sends on what it had, and is struck down in the midst of it; and the
 * second comes back.
 */
export const termHunt: Workload = {
  ...strong,
  name: 'term-hunt',
  begin(run) {
    strong.begin(run)
    new TermHunt(run, 'term-hunt').begin()
  },
}

class TermHunt extends Hunt {
  protected play(draw: SeededRandom): void {
    this.when(
      () => this.leaders().find(({ status }) => status.committedInTerm && isWhole(status)),
      (first) => this.firstLeads(first.server, first.status.term, draw),
    )
  }

  private firstLeads(first: Server<MeshNode>, term: number, draw: SeededRandom): void {
    this.cutOff(first)
    this.when(
      () => this.leaders().find((leader) => leader.status.term > term),
      (second) => {
        this.cutOff(second.server)
        // Its own first entry is on its disk by then, or is not.
        this.after(draw.integer(50, 400), () => {
          this.fell(second.server)
          this.heal()
          this.firstLeadsAgain(second.server, second.status.term, draw)
        })
      },
    )
  }

  private firstLeadsAgain(second: Server<MeshNode>, term: number, draw: SeededRandom): void {
    this.when(
      () => this.leaders().find((leader) => leader.status.term > term),
      ({ server }) => {
        const { disk, network } = this.run.options
        const roundTripMs = (2 * network.maxLatencyUs + disk.syncUs) / 1_000
        this.after(draw.uniform() * STRUCK_WITHIN_ROUND_TRIPS * roundTripMs, () => {
          this.cutOff(server)
          this.after(draw.integer(5, 50), () => {
            this.fell(server)
            second.start()
            this.secondLeads(draw)
          })
        })
      },
    )
  }

  private secondLeads(draw: SeededRandom): void {
    this.when(
      () => this.leaders().find(({ status }) => status.committedInTerm),
      () => this.after(draw.integer(0, 200), () => this.endRound()),
    )
  }
}

/** All servers vote, and are heard. */
function isWhole({ configuration, members }: RaftStatus): boolean {
  return configuration.voters.length === 3 && members.every(({ active, inflight }) => active && inflight <= 1)
}
