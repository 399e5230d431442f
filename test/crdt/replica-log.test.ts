import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { ReplicaLog } from '../../src/crdt/replica-log.js'

/** The log beside a sorted array that says the same, slowly. */
class Twin {
  readonly numberOfRow = new Map<number, number>()
  readonly log = new ReplicaLog((row, number) => this.numberOfRow.get(row) === number)
  highest = 0

  naive(): [number: number, row: number][] {
    const pairs = [...this.numberOfRow].map(([row, number]): [number, number] => [number, row])
    return pairs.sort((left, right) => left[0] - right[0])
  }

  write(row: number, number: number): void {
    const before = this.numberOfRow.get(row)
    this.numberOfRow.set(row, number)
    if (before !== undefined) this.log.markStale(before)
    if (number > this.log.lastNumber) this.log.append(number, row)
    else this.log.insert(number, row)
    this.highest = Math.max(this.highest, number)
  }

  remove(row: number): void {
    const number = this.numberOfRow.get(row)
    if (number === undefined) return
    this.numberOfRow.delete(row)
    this.log.markStale(number)
  }

  read(from: number, limit: number): [number, number][] {
    const seen: [number, number][] = []
    this.log.forEachAfter(from, (number, row) => seen.push([number, row]) < limit)
    return seen
  }
}

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('append' as const),
      row: fc.nat(1500),
      gap: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant('run' as const), row: fc.nat(1500), count: fc.nat(700) }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('remove' as const), row: fc.nat(1500) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('insert' as const),
      row: fc.nat(5000),
      at: fc.nat(1000).map((thousandths) => thousandths / 1000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('read' as const),
      at: fc.nat(1000).map((thousandths) => thousandths / 1000),
      limit: fc.integer({ min: 1, max: 40 }),
    }),
  },
)

t.test('reads what a sorted array would', async (t) => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), (steps) => {
      const twin = new Twin()
      for (const action of steps) {
        if (action.type === 'append') twin.write(action.row, twin.highest + action.gap)
        else if (action.type === 'run') {
          for (let count = 0; count < action.count; count++)
            twin.write((action.row + count) % 1500, twin.highest + 1)
        } else if (action.type === 'remove') twin.remove(action.row)
        else if (action.type === 'insert') {
          const number = Math.floor(action.at * twin.highest)
          const taken = twin.naive().some(([other]) => other === number) || number === 0
          if (!taken && !twin.numberOfRow.has(action.row)) twin.write(action.row, number)
        } else {
          const from = Math.floor(action.at * (twin.highest + 2))
          const expected = twin
            .naive()
            .filter(([number]) => number > from)
            .slice(0, action.limit)
          assert.deepEqual(twin.read(from, action.limit), expected)
        }
      }
      assert.ok(twin.log.lastNumber >= (twin.naive().at(-1)?.[0] ?? 0))
      assert.deepEqual(twin.read(0, Number.POSITIVE_INFINITY), twin.naive())
    }),
    { numRuns: 150 },
  )
  t.pass('all histories agreed')
})

t.test('space follows the live rows, not the writes', async (t) => {
  const fresh = new Map<number, number>()
  const log = new ReplicaLog((row, number) => fresh.get(row) === number)
  for (let number = 1; number <= 200_000; number++) {
    const row = number % 100 === 0 ? number : number % 4
    const before = fresh.get(row)
    fresh.set(row, number)
    if (before !== undefined) log.markStale(before)
    log.append(number, row)
  }
  const segments = (log as unknown as { segments: readonly unknown[] }).segments
  t.ok(segments.length <= 4 + (2 * fresh.size) / 512, `${segments.length} segments for ${fresh.size} rows`)
})
