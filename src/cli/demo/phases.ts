import type { GameServer } from './game-server.js'
import type { Stage } from './stage.js'

/** One act of the demo. The shares of all together are 1. */
export interface Phase {
  title(stage: Stage): string
  run(stage: Stage): Promise<void>
}

const LINK_TIMEOUT_MS = 10_000
/** Enough for several elections on a busy machine. */
const LEADER_TIMEOUT_MS = 20_000
/**
 * Twice what a stack takes with the rights to it at hand. The rights to the last few items may take longer, up to a
 * minute: the verdict waits for no transfer.
 */
const TRANSFERS_TIMEOUT_MS = 5_000

const start: Phase = {
  title: ({ servers }) => `three servers start: ${servers.map(({ id }) => id).join(', ')}`,
  run: async (stage) => {
    // The first one alone founds the mesh; the others find each other through it.
    for (const [position, server] of stage.servers.entries())
      await stage.orEnd(server.start(stage.peersOf(server), { found: position === 0 }))
    await stage.until('all servers linked', LINK_TIMEOUT_MS, async () => {
      const states = await Promise.all(stage.servers.map((server) => server.call('state', undefined)))
      return states.every(({ linked }) => linked.length === stage.servers.length - 1)
    })
    await stage.all((server) => server.call('play', undefined))
    await stage.until('every server a voter of the strong group', LEADER_TIMEOUT_MS, async () => {
      const states = await Promise.all(stage.servers.map((server) => server.call('state', undefined)))
      return states.every(({ voters }) => voters.length === stage.servers.length)
    })
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
  title: () => 'the leader of the strong group is killed with SIGKILL; the others play on',
  run: async (stage) => {
    // At no particular moment of its tick.
    await stage.playOn(stage.random.uniform() * 0.05)
    let victim: GameServer | undefined
    await stage.until('a leader', LEADER_TIMEOUT_MS, async () => {
      victim = await stage.leader()
      return victim !== undefined
    })
    stage.victim = victim!
    await stage.orEnd(stage.victim.kill())
    stage.counts.kills += 1
    stage.counts.leaderKills += 1
    await stage.playOn(0.2)
    const others = stage.servers.filter((server) => server !== stage.victim)
    await stage.until(
      'another leader',
      LEADER_TIMEOUT_MS,
      async () => (await stage.leader(others)) !== undefined,
    )
  },
}

const restart: Phase = {
  title: (stage) => `${stage.victim!.id} is started again from its data directory and plays at once`,
  run: async (stage) => {
    const server = stage.victim!
    await stage.orEnd(server.restart(stage.peersOf(server)))
    await stage.orEnd(server.call('play', undefined))
    await stage.playOn(0.3)
  },
}

const carry: Phase = {
  title: () => 'the builders rest; everybody plays on until the transfers have moved what is there to move',
  run: async (stage) => {
    await stage.all((server) => server.call('restBuilders', undefined))
    await stage.becomes(TRANSFERS_TIMEOUT_MS, async () => {
      const busy = await Promise.all(stage.servers.map((server) => server.call('busyTransfers', undefined)))
      return busy.every((transfers) => transfers === 0)
    })
  },
}

const rest: Phase = {
  title: () => 'the players rest',
  run: async (stage) => {
    await stage.all((server) => server.call('rest', undefined))
  },
}

/**
 * The acts in their order. Until their rest builders make anchors and transfers through the strong group, too, and
 * put items into chests for the transfers to move.
 */
export const PHASES: readonly Phase[] = [start, play, cut, heal, kill, restart, carry, rest]

function pair({ servers, options }: Stage): [GameServer, GameServer] {
  const spared = options.seed % servers.length
  const [left, right] = servers.filter((_, position) => position !== spared)
  return [left!, right!]
}

function idOf({ id }: GameServer): string {
  return id
}

async function isLinked(left: GameServer, right: GameServer): Promise<boolean> {
  const [one, other] = await Promise.all([left.call('state', undefined), right.call('state', undefined)])
  return one.linked.includes(right.id) && other.linked.includes(left.id)
}
