import type { MeshNode } from '../../node/mesh-node.js'
import type { Server } from '../cluster/server.js'
import type { SeededRandom } from '../kernel/random.js'
import type { Run } from '../run/run.js'
import { strongOf } from '../strong/access.js'
import { cutBetween } from './cut-between.js'
import { strong } from './strong.js'
import type { Workload } from './workload.js'

/** Between two attacks: about as long as an election takes, so that many terms begin with entries left over. */
const MEAN_PAUSE_MS = 600

/** The strong workload, and whoever leads is soon killed, frozen or cut off, alone or with one follower. */
export const leaderHunt: Workload = {
  ...strong,
  name: 'leader-hunt',
  begin(run) {
    strong.begin(run)
    const random = run.cluster.kernel.random.fork('leader-hunt')
    const { safetyMs } = run.options
    let number = 0
    for (let atMs = 1_500; atMs < safetyMs; atMs += random.integer(200, 2 * MEAN_PAUSE_MS)) {
      const draw = random.fork(number++)
      run.cluster.after(atMs, () => attack(run, draw))
    }
    run.plannedEvents += number
  },
}

function attack(run: Run, draw: SeededRandom): void {
  const leaders = run.cluster.servers.filter(
    ({ node }) => node !== undefined && strongOf(node).status()?.raft.role === 'leader',
  )
  if (leaders.length === 0) return
  const leader = draw.pick(leaders)
  const forMs = draw.integer(200, 2_000)
  const how = draw.uniform()
  if (how < 0.3) crash(run, leader, draw.chance(0.7), forMs)
  else if (how < 0.5) leader.machine.process?.blockUntil(run.nowUs + forMs * 1000)
  else if (how < 0.75) cutOff(run, leader, draw, forMs)
  else for (const server of run.cluster.servers) crash(run, server, true, forMs)
}

function crash(run: Run, server: Server<MeshNode>, power: boolean, forMs: number): void {
  if (server.state === 'down' || server.heldDown) return
  if (power) server.losePower()
  else server.kill()
  run.cluster.after(forMs, () => server.start())
}

function cutOff(run: Run, leader: Server<MeshNode>, draw: SeededRandom, forMs: number): void {
  const others = draw.shuffle(run.cluster.servers.filter((server) => server !== leader))
  const side = [leader, ...others.slice(0, draw.integer(0, 1))]
  const heal = cutBetween(
    run,
    side,
    others.filter((other) => !side.includes(other)),
  )
  run.cluster.after(forMs, heal)
}
