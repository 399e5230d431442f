import t from 'tap'
import type { Mutations } from '../../src/raft/mutations.js'
import { InvariantViolation } from '../../src/sync/errors.js'
import { SafetyViolation } from './checkers.js'
import { History, type HistoryStatistics, type Profile } from './workload.js'

/** More seeds for a longer run: RAFT_SEEDS=2000. */
const SEEDS = Number(process.env.RAFT_SEEDS ?? 60)
const TICKS = 400

// A longer run may take its time.
t.setTimeout(60_000 + SEEDS * 1000)

/** What a defect looked like, or undefined. Anything else that is thrown is a defect of the test. */
function defectOf(seed: number, profile: Profile, mutations: Mutations): string | undefined {
  try {
    new History({ seed, profile, ticks: TICKS, mutations }).run()
    return undefined
  } catch (error) {
    if (error instanceof SafetyViolation || error instanceof InvariantViolation) return error.message
    throw error
  }
}

t.test('random histories keep every safety property and converge once healed', async (t) => {
  for (const profile of ['mixed', 'leader-hunt', 'membership-hunt'] as const) {
    const totals = new Map<string, number>()
    for (let seed = 1; seed <= SEEDS; seed++) {
      let statistics: HistoryStatistics
      try {
        statistics = new History({ seed, profile, ticks: TICKS }).run()
      } catch (error) {
        t.fail(`${profile}, seed ${seed}: ${(error as Error).message}`)
        continue
      }
      for (const [name, value] of Object.entries(statistics))
        totals.set(name, (totals.get(name) ?? 0) + value)
    }
    // A history in which nothing happens proves nothing.
    const expected = ['leaderChanges', 'confirmedReads', 'applied', 'acknowledged', 'crashes']
    if (profile === 'mixed') expected.push('snapshotChunks')
    if (profile !== 'leader-hunt') expected.push('membershipChanges')
    for (const name of expected)
      t.ok(totals.get(name)! >= SEEDS / 2, `${profile}: ${name} ${totals.get(name)}`)
  }
})

t.test('one seed is one history', async (t) => {
  const run = () => new History({ seed: 7, profile: 'mixed', ticks: TICKS }).run()
  t.same(run(), run())
})

/** Where each defect is most likely to show, and seeds after which it must have. */
const MUTANTS: readonly { mutation: keyof Mutations; profile: Profile; seeds: number }[] = [
  { mutation: 'voteTwice', profile: 'leader-hunt', seeds: 40 },
  { mutation: 'countOldTermEntries', profile: 'leader-hunt', seeds: 300 },
  { mutation: 'acknowledgeBeforePersist', profile: 'mixed', seeds: 100 },
  { mutation: 'serveStaleReads', profile: 'mixed', seeds: 60 },
  { mutation: 'skipRequestDeduplication', profile: 'mixed', seeds: 40 },
  { mutation: 'allowConcurrentChanges', profile: 'membership-hunt', seeds: 200 },
  { mutation: 'voteForStaleLogs', profile: 'mixed', seeds: 60 },
]

t.test('every deliberate defect is caught', async (t) => {
  for (const { mutation, profile, seeds } of MUTANTS) {
    let defect: string | undefined
    let seed = 0
    while (defect === undefined && seed < seeds) {
      seed += 1
      defect = defectOf(seed, profile, { [mutation]: true })
    }
    t.ok(defect, `${mutation} is caught with seed ${seed}: ${defect?.split('\n')[0]}`)
  }
})
