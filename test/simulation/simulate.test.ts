import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Partition } from '../../src/crdt/partition.js'
import { MUTANTS } from '../../src/simulation/mutants/all.js'
import { campaign, seedsToCatch } from '../../src/simulation/run/campaign.js'
import { investigate, pageOf } from '../../src/simulation/run/investigate.js'
import { drawRunOptions } from '../../src/simulation/run/options.js'
import { simulate } from '../../src/simulation/run/simulate.js'

t.setTimeout(180_000)

t.test('one seed is one history, recorded or not', async (t) => {
  for (const seed of [12, 20]) {
    const options = drawRunOptions(seed, 'mixed')
    const first = await simulate(options)
    const second = await simulate(drawRunOptions(seed, 'mixed'), { record: true })
    t.equal(first.violation, undefined)
    t.equal(second.traceHash, first.traceHash)
    t.equal(second.events, first.events)
    t.ok(first.operations > 0)
  }
  const other = await simulate(drawRunOptions(21, 'mixed'))
  t.not(other.traceHash, (await simulate(drawRunOptions(12, 'mixed'))).traceHash)
})

t.test('a few seeds break nothing', async (t) => {
  const totals = await campaign({ workload: 'mixed', seeds: [2, 9, 20, 21, 22], goOn: () => true })
  t.same(totals.failed, [])
  t.equal(totals.seeds, 5)
  t.ok(totals.events > 5_000)
})

t.test('transfers and reads at a level, under faults', async (t) => {
  const moved = await campaign({ workload: 'transfers', seeds: [1, 3], goOn: () => true })
  t.same(moved.failed, [])
  const read = await campaign({ workload: 'reads', seeds: [1, 2, 3, 4], goOn: () => true })
  t.same(read.failed, [])
})

// The others need more seeds; `npm run sim -- --mutants` runs them all, in CI.
const QUICK = [
  'merge-adds-instead-of-keeping-the-later-write',
  'state-changed-behind-its-back',
  'deposit-counted-twice-now-and-then',
  'reads-do-not-see-own-writes',
  'an-event-lost-now-and-then',
  'an-event-delivered-twice-now-and-then',
  'an-error-without-a-code',
  'a-move-in-two-steps',
  'a-transfer-moves-without-the-rights',
  'a-read-at-quorum-asks-nobody',
]

t.test('broken variants are caught by the checker that is meant to, and leave no trace', async (t) => {
  const { merge } = Partition.prototype
  const names = MUTANTS.map(({ name }) => name)
  t.equal(new Set(names).size, names.length)
  for (const name of QUICK) {
    const mutant = MUTANTS.find((candidate) => candidate.name === name)
    t.ok(mutant && (await seedsToCatch(mutant)) !== undefined, name)
  }
  t.equal(Partition.prototype.merge, merge, 'the product is whole again')
  t.equal((await simulate(drawRunOptions(20, 'mixed'))).violation, undefined)
})

t.test('a failure is explained: fewest faults, and a page that marks it', async (t) => {
  const mutant = MUTANTS.find(({ name }) => name.startsWith('replay-skips'))
  t.ok(mutant)
  if (mutant === undefined) return
  let seed = 1
  let failed = await simulate(drawRunOptions(seed, 'mixed'), { mutant })
  while (failed.violation?.invariant !== mutant.invariant && seed < mutant.withinSeeds) {
    failed = await simulate(drawRunOptions(++seed, 'mixed'), { mutant })
  }
  t.equal(failed.violation?.invariant, mutant.invariant)
  const { faults, result } = await investigate(failed, { mutant })
  t.ok(faults.length <= 3, `${faults.length} of ${failed.options.faults.length} faults are left`)
  t.equal(result.violation?.invariant, mutant.invariant)
  const page = pageOf(result)
  t.match(page, `seed ${seed}`)
  t.match(page, '"kind":"violation"')
  t.notMatch(page, 'everything healed', 'a run that is over has no further phase')
})

t.test('the simulator stays on its side of the door', async (t) => {
  const files = (directory: string): string[] =>
    readdirSync(directory, { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
      .map((entry) => join(entry.parentPath, entry.name))
  const source = join(import.meta.dirname, '../../src')
  const forbidden =
    /\b(setImmediate|setTimeout|setInterval|Date\.now|new Date|Math\.random|performance\.now)\b/
  for (const file of files(join(source, 'simulation'))) {
    if (file.endsWith('kernel/macrotask.ts')) continue
    const code = readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
    t.notMatch(code, forbidden, `${file} touches no real time and no real chance`)
  }
  for (const file of files(source)) {
    if (file.includes('/src/simulation/')) continue
    // The generator alone is of use elsewhere: the demo plays its games with it.
    const imports = /from '[^']*simulation\/(?!kernel\/random\.js)/
    t.notMatch(readFileSync(file, 'utf8'), imports, `${file} does not know the simulator`)
  }
})
