import type { MeshNode } from '../../node/mesh-node.js'
import type { RaftStatus } from '../../raft/status.js'
import type { Server } from '../cluster/server.js'
import type { SeededRandom } from '../kernel/random.js'
import type { Run } from '../run/run.js'
import { strongOf } from '../strong/access.js'
import { cutBetween } from './cut-between.js'

const LOOK_EVERY_MS = 2
/** An act that does not come about within this time is given up, and all begins anew. */
const ACT_WITHIN_MS = 4_000
const BREAK_MS = 500

export interface Leader {
  readonly server: Server<MeshNode>
  readonly status: RaftStatus
}

/**
 * A history of the strong group that must not harm it, played again and again with other delays. It waits for a
 * state of the group and acts in it; when the time for faults is over, all is made whole.
 */
export abstract class Hunt {
  private readonly random: SeededRandom
  private readonly untilUs: number
  private readonly heals: (() => void)[] = []
  private round = 0

  constructor(
    protected readonly run: Run,
    name: string,
  ) {
    this.random = run.cluster.kernel.random.fork(name)
    this.untilUs = run.nowUs + run.options.safetyMs * 1_000
  }

  begin(): void {
    this.play(this.random.fork(this.round++))
  }

  protected abstract play(draw: SeededRandom): void

  protected endRound(): void {
    this.heal()
    for (const server of this.run.cluster.servers) if (server.state === 'down') server.start()
    if (this.run.nowUs < this.untilUs) this.after(BREAK_MS, () => this.begin())
  }

  protected leaders(): Leader[] {
    return this.run.cluster.servers.flatMap((server) => {
      const status = server.node && strongOf(server.node).status()?.raft
      return status?.role === 'leader' ? [{ server, status }] : []
    })
  }

  protected when<Found>(look: () => Found | undefined, then: (found: Found) => void): void {
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
  protected after(ms: number, act: () => void): void {
    this.run.cluster.after(ms, () => {
      if (this.run.over) return
      if (this.run.nowUs < this.untilUs) act()
      else this.heal()
    })
  }

  /** With it goes what it had sent and the network had not delivered. */
  protected fell(server: Server<MeshNode>): void {
    server.losePower()
    for (const { number } of this.run.cluster.servers)
      if (number !== server.number) this.run.cluster.network.breakConnections(server.number, number, 'reset')
  }

  /** Nothing passes between these and the others. */
  protected cutOff(...side: readonly Server<MeshNode>[]): void {
    const others = this.run.cluster.servers.filter((server) => !side.includes(server))
    this.heals.push(cutBetween(this.run, side, others))
  }

  protected heal(): void {
    for (const heal of this.heals.splice(0)) heal()
  }
}
