import type { GameServer } from './game-server.js'
import type { Stage } from './stage.js'

/** One act of the demo. The shares of all together are 1. */
export interface Phase {
  title(stage: Stage): string
  run(stage: Stage): Promise<void>
}

const LINK_TIMEOUT_MS = 10_000

const start: Phase = {
  title: ({ servers }) => `three servers start: ${servers.map(({ id }) => id).join(', ')}`,
  run: async (stage) => {
    // The first one alone founds the mesh; the others find each other through it.
    for (const server of stage.servers) await stage.orEnd(server.start(stage.peersOf(server)))
    await stage.until('all servers linked', LINK_TIMEOUT_MS, async () => {
      const states = await Promise.all(stage.servers.map((server) => server.call('state', undefined)))
      return states.every(({ linked }) => linked.length === stage.servers.length - 1)
    })
    await stage.all((server) => server.call('play', undefined))
  },
}

const play: Phase = {
  title: () => 'players mine, hunt, deposit and withdraw on every server',
  run: (stage) => stage.playOn(0.15),
}

const cut: Phase = {
  title: (stage) => `the link between ${pair(stage).map(idOf).join(' and ')} is cut; everybody plays on`,
  run: async (stage) => {
    const [left, right] = pair(stage)
    await stage.orEnd(Promise.all([left.call('cut', [right.id]), right.call('cut', [left.id])]))
    await stage.until('the cut', LINK_TIMEOUT_MS, async () => !(await isLinked(left, right)))
    stage.counts.cuts += 1
    await stage.playOn(0.2)
  },
}

const heal: Phase = {
  title: () => 'the link is healed',
  run: async (stage) => {
    const [left, right] = pair(stage)
    await stage.orEnd(Promise.all([left.call('cut', []), right.call('cut', [])]))
    await stage.until('the healing', LINK_TIMEOUT_MS, () => isLinked(left, right))
    await stage.playOn(0.1)
  },
}

const kill: Phase = {
  title: (stage) => `${victim(stage).id} is killed with SIGKILL; the others play on`,
  run: async (stage) => {
    // At no particular moment of its tick.
    await stage.playOn(stage.random.uniform() * 0.05)
    await stage.orEnd(victim(stage).kill())
    stage.counts.kills += 1
    await stage.playOn(0.2)
  },
}

const restart: Phase = {
  title: (stage) => `${victim(stage).id} is started again from its data directory and plays at once`,
  run: async (stage) => {
    const server = victim(stage)
    await stage.orEnd(server.restart(stage.peersOf(server)))
    await stage.orEnd(server.call('play', undefined))
    await stage.playOn(0.3)
  },
}

const rest: Phase = {
  title: () => 'the players rest',
  run: async (stage) => {
    await stage.all((server) => server.call('rest', undefined))
  },
}

/**
 * The acts in their order. Anchors and transfers through Raft, and contended withdrawals across the cut, are
 * further phases between `start` and `rest`, with further counts in `DemoCounts` and fields in report.ts.
 */
export const PHASES: readonly Phase[] = [start, play, cut, heal, kill, restart, rest]

function pair({ servers, options }: Stage): [GameServer, GameServer] {
  const spared = options.seed % servers.length
  const [left, right] = servers.filter((_, position) => position !== spared)
  return [left!, right!]
}

/** One of the pair that was cut: it has just caught up. */
function victim(stage: Stage): GameServer {
  return pair(stage)[Math.floor(stage.options.seed / stage.servers.length) % 2]!
}

function idOf({ id }: GameServer): string {
  return id
}

async function isLinked(left: GameServer, right: GameServer): Promise<boolean> {
  const [one, other] = await Promise.all([left.call('state', undefined), right.call('state', undefined)])
  return one.linked.includes(right.id) && other.linked.includes(left.id)
}
