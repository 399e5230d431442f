import type { MeshNode } from '../../node/mesh-node.js'
import type { RaftStatus } from '../../raft/status.js'
import type { Server } from '../cluster/server.js'
import type { SeededRandom } from '../kernel/random.js'
import type { Run } from '../run/run.js'
import { strongOf } from '../strong/access.js'
import { strong } from './strong.js'
import type { Workload } from './workload.js'

const LOOK_EVERY_MS = 2
/** An act that does not come about within this time is given up, and all begins anew. */
const ACT_WITHIN_MS = 4_000
const BREAK_MS = 500
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
    new TermHunt(run).begin()
  },
}

class TermHunt {
  private readonly random: SeededRandom
  private readonly untilUs: number
  private readonly cuts: [number, number][] = []
  private round = 0

  constructor(private readonly run: Run) {
    this.random = run.cluster.kernel.random.fork('term-hunt')
    this.untilUs = run.nowUs + run.options.safetyMs * 1_000
  }

  begin(): void {
    this.when(
      () => this.leaders().find(({ status }) => status.committedInTerm && isWhole(status)),
      (first) => this.firstLeads(first.server, first.status.term, this.random.fork(this.round++)),
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

  private endRound(): void {
    this.heal()
    for (const server of this.run.cluster.servers) if (server.state === 'down') server.start()
    if (this.run.nowUs < this.untilUs) this.after(BREAK_MS, () => this.begin())
  }

  private leaders(): { server: Server<MeshNode>; status: RaftStatus }[] {
    return this.run.cluster.servers.flatMap((server) => {
      const status = server.node && strongOf(server.node).status()?.raft
      return status?.role === 'leader' ? [{ server, status }] : []
    })
  }

  private when<Found>(look: () => Found | undefined, then: (found: Found) => void): void {
    const giveUpUs = this.run.nowUs + ACT_WITHIN_MS * 1_000
    const again = () => {
      const found = look()
      if (found !== undefined) then(found)
      else if (this.run.nowUs > giveUpUs) this.endRound()
      else this.after(LOOK_EVERY_MS, again)
    }
    again()
  }

  /** Not when the time for faults is over: then all is made whole. */
  private after(ms: number, act: () => void): void {
    this.run.cluster.after(ms, () => {
      if (this.run.over) return
      if (this.run.nowUs < this.untilUs) act()
      else this.heal()
    })
  }

  /** With it goes what it had sent and the network had not delivered. */
  private fell(server: Server<MeshNode>): void {
    server.losePower()
    for (const { number } of this.run.cluster.servers)
      if (number !== server.number) this.run.cluster.network.breakConnections(server.number, number, 'reset')
  }

  private cutOff(server: Server<MeshNode>): void {
    for (const other of this.run.cluster.servers) {
      if (other === server) continue
      for (const [from, to] of [
        [server.number, other.number],
        [other.number, server.number],
      ] as const) {
        this.run.cluster.network.conditions.cut(from, to)
        this.cuts.push([from, to])
      }
    }
  }

  private heal(): void {
    for (const [from, to] of this.cuts.splice(0)) this.run.cluster.network.conditions.heal(from, to)
  }
}

/** All servers vote, and are heard. */
function isWhole({ configuration, members }: RaftStatus): boolean {
  return configuration.voters.length === 3 && members.every(({ active, inflight }) => active && inflight <= 1)
}
