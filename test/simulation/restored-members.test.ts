import t from 'tap'
import { Presence } from '../../src/node/presence.js'
import { drawRunOptions, type RunOptions } from '../../src/simulation/run/options.js'
import type { Run } from '../../src/simulation/run/run.js'
import { simulate } from '../../src/simulation/run/simulate.js'

const SEEDS = [1, 2, 3]

/** Three servers on a good network; after the first seconds one of them goes back to a backup taken 4 s before. */
function withRestore(seed: number): RunOptions {
  const options = drawRunOptions(seed, 'strong')
  const { raft: _, ...node } = options.node
  return {
    ...options,
    names: ['s0', 's1', 's2'],
    durability: ['group', 'group', 'group'],
    peers: [
      [1, 2],
      [0, 2],
      [0, 1],
    ],
    core: [0, 1, 2],
    worlds: [[], [], []],
    places: [{ storage: 'vault', world: undefined }],
    startSpreadMs: 0,
    safetyMs: 14_000,
    operationsPerSecond: 10,
    network: { ...options.network, minLatencyUs: 500, maxLatencyUs: 500, jitterUs: 100, maxJitterUs: 1_000 },
    disk: { ...options.disk, syncUs: 200, maxSyncUs: 2_000 },
    node,
    faults: [{ id: 0, atMs: 6_000, kind: 'restore', server: seed % 3, restoreAfterMs: 4_000, forMs: 500 }],
  }
}

t.test('a member from a backup is a new one: its peers have seen that the old one wrote on', async (t) => {
  for (const seed of SEEDS) {
    const { violation, excuse } = await simulate(withRestore(seed))
    t.equal(violation, undefined, `seed ${seed}`)
    t.equal(excuse, undefined, `seed ${seed}`)
  }
})

t.test('without the trace in its cells nobody would know, and it would vote as before', async (t) => {
  for (const seed of SEEDS) {
    const apply = (run: Run) => run.override(Presence.prototype, 'strongWritten', () => () => undefined)
    const mutant = { name: 'no-trace', invariant: '', withinSeeds: 1, apply }
    const { excuse } = await simulate(withRestore(seed), { mutant })
    t.match(excuse, /takes part as before its backup/, `seed ${seed}`)
  }
})
