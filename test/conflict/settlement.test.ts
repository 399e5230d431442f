import t from 'tap'
import type { ConflictResolver } from '../../src/conflict/resolver.js'
import {
  earlierTimeResolver,
  lowerIdResolver,
  manualResolver,
  serverPriorityResolver,
} from '../../src/conflict/resolver.js'
import { generator, Model, type ModelOptions } from './model.js'

/** `HISTORIES=20000` for a long run, `SEED=…` for one history. */
const HISTORIES = Number(process.env.HISTORIES ?? 1000)
const ROUNDS = 200
if (process.env.HISTORIES) t.setTimeout(0)

function explore(histories: number, options: (random: (bound: number) => number) => ModelOptions) {
  const counts = { backed: 0, provisional: 0, confirmed: 0, compensated: 0, crashes: 0, parked: 0, kept: 0 }
  let slowest = 0
  const first = Number(process.env.SEED ?? 0)
  for (let seed = first; seed < first + histories; seed++) {
    const random = generator(seed)
    const model = new Model(random, options(random))
    try {
      const steps = 20 + random(150)
      for (let step = 0; step < steps; step++) model.step()
      const rounds = model.heal(ROUNDS)
      if (rounds > ROUNDS) throw new Error(`not settled ${ROUNDS} rounds after healing`)
      slowest = Math.max(slowest, rounds)
      model.checkHealed()
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
    }
    for (const name of Object.keys(counts) as (keyof typeof counts)[]) counts[name] += model.counts[name]
  }
  return { counts, slowest }
}

t.test('after healing nothing is open, negative, compensated twice or lost', async (t) => {
  const { counts, slowest } = explore(HISTORIES, () => ({}))
  t.comment({ ...counts, slowest })
  for (const name of ['backed', 'provisional', 'confirmed', 'compensated', 'crashes'] as const) {
    t.ok(counts[name] > 50, `${counts[name]} ${name}`)
  }
})

t.test('with backed withdrawals only, nothing is ever compensated', async (t) => {
  const { counts } = explore(HISTORIES / 5, () => ({ backedOnly: true }))
  t.ok(counts.backed > 50)
  t.equal(counts.compensated + counts.provisional, 0)
})

t.test('resolvers that throw, answer nonsense or differ between servers do no harm', async (t) => {
  const throwing: ConflictResolver = {
    resolve: () => {
      throw new Error('no')
    },
    requiresManualResolution: () => {
      throw new Error('no')
    },
  }
  const nonsense = {
    resolve: () => undefined,
    requiresManualResolution: () => 'yes',
  } as unknown as ConflictResolver
  const selfish: ConflictResolver = {
    resolve: (left, right) => (left.id > right.id ? left : right),
    requiresManualResolution: () => false,
  }
  const all = [
    lowerIdResolver,
    earlierTimeResolver,
    serverPriorityResolver(['s2', 's0']),
    throwing,
    nonsense,
    selfish,
  ]
  const { counts } = explore(HISTORIES / 3, (random) => ({ resolver: () => all[random(all.length)]! }))
  t.ok(counts.compensated > 20, `${counts.compensated} compensated`)
})

t.test('a person decides what is parked', async (t) => {
  const { counts } = explore(HISTORIES / 3, () => ({ resolver: () => manualResolver() }))
  t.ok(counts.parked > 20 && counts.kept > 5, `${counts.parked} parked, ${counts.kept} kept`)
})
