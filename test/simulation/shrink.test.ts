import fc from 'fast-check'
import t from 'tap'
import { drawFaultRates, drawFaults, NO_FAULTS } from '../../src/simulation/faults/draw-faults.js'
import { describeFault, type Fault, faultToJson } from '../../src/simulation/faults/fault.js'
import { SeededRandom } from '../../src/simulation/kernel/random.js'
import { shrink } from '../../src/simulation/shrink.js'

t.test('finds exactly the elements that are needed together, in their order', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 60 }),
      fc.array(fc.nat({ max: 59 }), { minLength: 0, maxLength: 5 }),
      async (length, wanted) => {
        const items = Array.from({ length }, (_, number) => number)
        const needed = [...new Set(wanted.map((number) => number % length))].sort((a, b) => a - b)
        const seen = new Set<string>()
        const { kept } = await shrink(
          items,
          async (subset) => {
            if (seen.has(subset.join())) throw new Error('the same subset twice')
            seen.add(subset.join())
            return needed.every((number) => subset.includes(number))
          },
          10_000,
        )
        t.same(kept, needed)
      },
    ),
    { numRuns: 200 },
  )
})

t.test('ends where no single element can go, whatever the condition', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 2, max: 24 }), fc.nat(), async (length, salt) => {
      const items = Array.from({ length }, (_, number) => number)
      const fails = async (subset: readonly number[]) =>
        subset.length === length || (subset.length * 7 + subset.reduce((a, b) => a + b, 0) + salt) % 3 === 0
      const { kept } = await shrink(items, fails, 10_000)
      t.ok(await fails(kept))
      for (const left of kept) {
        if (kept.length < 2) break
        t.notOk(await fails(kept.filter((item) => item !== left)), `${left} can go`)
      }
    }),
  )
})

t.test('stops at the number of tries with something that fails', async (t) => {
  const items = Array.from({ length: 500 }, (_, number) => number)
  const fails = async (subset: readonly number[]) => subset.includes(13) && subset.includes(400)
  const { kept, tries } = await shrink(items, fails, 10)
  t.equal(tries, 10)
  t.ok(await fails(kept))
  t.ok(kept.length < 500)
})

t.test('stops when it may not go on, with something that fails', async (t) => {
  const items = Array.from({ length: 500 }, (_, number) => number)
  let asked = 0
  const fails = async (subset: readonly number[]) => subset.includes(13) && subset.includes(400)
  const { kept, tries } = await shrink(items, fails, 10_000, () => ++asked <= 20)
  t.ok(tries <= 20)
  t.ok(await fails(kept))
  t.ok(kept.length < 500)
})

t.test('a schedule of faults is drawn from the seed and from nothing else', async (t) => {
  const draw = (seed: number) => {
    const random = new SeededRandom(seed)
    return drawFaults(random.fork('faults'), 5, 120_000, drawFaultRates(random.fork('rates')))
  }
  t.same(draw(9), draw(9))
  t.notSame(draw(9), draw(10))
  t.same(drawFaults(new SeededRandom(1), 5, 120_000, NO_FAULTS), [])
  const kinds = new Map<string, number>()
  for (let seed = 0; seed < 200; seed++) {
    const faults = draw(seed)
    for (let at = 1; at < faults.length; at++) t.ok(faults[at - 1]!.atMs <= faults[at]!.atMs)
    for (const fault of faults) kinds.set(fault.kind, (kinds.get(fault.kind) ?? 0) + 1)
  }
  t.same([...kinds.keys()].sort(), Object.keys(NO_FAULTS).sort(), 'every kind comes up')
  const alone = (rate: number) =>
    drawFaults(new SeededRandom(3), 3, 60_000, { ...NO_FAULTS, crash: 2, freeze: rate }).filter(
      ({ kind }) => kind === 'crash',
    )
  const without = (faults: Fault[]) => faults.map(({ id: _, ...rest }) => rest)
  t.same(without(alone(0)), without(alone(5)), 'more of one kind leaves the others as they are')
})

t.test('a fault is told in one line', async (t) => {
  const fault: Fault = { id: 3, atMs: 1500, kind: 'crash', server: 2, power: true, forMs: 900 }
  t.same(faultToJson(fault), { at_ms: 1500, kind: 'crash', server: 2, power: true, for_ms: 900 })
  t.equal(describeFault(fault), '    1500 ms  crash  server=2 power=true for_ms=900')
})
