import t from 'tap'
import { Agreement } from '../../src/simulation/run/agreement.js'
import type { Run } from '../../src/simulation/run/run.js'

type Vector = Record<string, number>

/** Servers that show these vectors of the shared partition. */
function mesh(vectors: (Vector | undefined)[]) {
  const run = {
    nowUs: 0,
    cluster: {
      servers: vectors.map((_, number) => ({
        name: `s${number}`,
        state: 'down',
        get node() {
          const versionVector = vectors[number]
          if (versionVector === undefined) return undefined
          const partition = { partition: '', settled: true, checksum: 7, versionVector }
          return { status: () => ({ journal: 'ok', numberingHeld: false, partitions: [partition] }) }
        },
      })),
    },
  }
  return { run: run as unknown as Run & { nowUs: number }, vectors }
}

t.test('those that rest agree when they are equal', async (t) => {
  const { run, vectors } = mesh([{ a: 3, b: 0 }, { a: 3 }])
  const agreement = new Agreement(run, false)
  t.equal(agreement.whyNot([0, 1]), undefined)
  vectors[1] = { a: 2 }
  t.match(agreement.whyNot([0, 1]), /^s0 and s1 differ/)
  t.equal(agreement.whyNot([1]), undefined)
  vectors[1] = undefined
  t.equal(agreement.whyNot([0, 1]), 's1 is down')
})

t.test('those that never rest agree when each has what any of them had a second ago', async (t) => {
  const { run, vectors } = mesh([
    { a: 0, b: 0 },
    { a: 0, b: 0 },
  ])
  const agreement = new Agreement(run, true)
  const found: boolean[] = []
  for (let step = 0; step < 20; step++) {
    run.nowUs = step * 250_000
    // Each is always a few writes behind the other.
    vectors[0] = { a: 10 * step, b: 10 * step - 4 }
    vectors[1] = { a: 10 * step - 5, b: 10 * step }
    // From here on s1 receives nothing.
    if (step >= 12) vectors[1] = { a: 115, b: 95 }
    found.push(agreement.whyNot([0, 1]) === undefined)
  }
  t.same(found.slice(0, 4), [false, false, false, false], 'not before there is a past')
  t.same(found.slice(4, 14), new Array(10).fill(true))
  t.same(found.slice(14), new Array(6).fill(false), 's1 is behind')
  t.match(agreement.whyNot([0, 1]), /^s1 has \|a up to 115/)
})

t.test('unnumbered writes of a former incarnation wait for whoever is outside of the core', async (t) => {
  const shared = { name: '' }
  const node = {
    status: () => ({ journal: 'ok', numberingHeld: true, partitions: [] }),
    core: {
      durables: { committer: { formerPartitions: () => new Set([shared]) } },
      view: { knownServers: () => ['s0', 's1', 's2'] },
    },
  }
  const still = { status: () => ({ journal: 'ok', numberingHeld: false, partitions: [] }) }
  const servers = [node, still, still].map((each, number) => ({ name: `s${number}`, node: each }))
  const agreement = new Agreement({ nowUs: 0, cluster: { servers } } as unknown as Run, false)
  t.equal(agreement.whyNot([0, 1]), undefined, 's2 may know them numbered')
  t.match(agreement.whyNot([0, 1, 2]), /^s0 still waits/, 'nobody is left to wait for')
  node.core.durables.committer.formerPartitions = () => new Set()
  t.match(agreement.whyNot([0, 1]), /^s0 still waits/, 'its own writes nobody else can have numbered')
})
