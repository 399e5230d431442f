import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { compareTimestamps, HybridClock, MAX_CLOCK_AHEAD_MS } from '../../src/crdt/hybrid-clock.js'
import { VersionVector } from '../../src/crdt/version-vector.js'

const rows = fc.array(fc.tuple(fc.constantFrom('a@1', 'b@1', 'c@2'), fc.nat(5)), { maxLength: 6 })

t.test('version vector: raising is a join', async (t) => {
  const joined = (left: VersionVector, right: VersionVector) => {
    const copy = left.copy()
    copy.raiseAll(right)
    return copy
  }
  fc.assert(
    fc.property(rows, rows, rows, (first, second, third) => {
      const [a, b, c] = [first, second, third].map((given) => VersionVector.from(given)) as [
        VersionVector,
        VersionVector,
        VersionVector,
      ]
      assert.ok(joined(a, a).equals(a))
      assert.ok(joined(a, b).equals(joined(b, a)))
      assert.ok(joined(joined(a, b), c).equals(joined(a, joined(b, c))))
      assert.ok(joined(a, b).covers(a) && joined(a, b).covers(b))
      assert.equal(a.covers(b) && b.covers(a), a.equals(b))
      for (const [replica, number] of first) assert.ok(a.get(replica) >= number)
      for (const [replica, number] of a)
        assert.ok(first.some(([other, given]) => other === replica && given === number))
    }),
  )
  const vector = VersionVector.from([['a@1', 3]])
  t.equal(vector.raise('a@1', 3), false)
  t.equal(vector.raise('a@1', 2), false)
  t.equal(vector.get('a@1'), 3)
  t.equal(vector.raise('b@1', 1), true)
  t.equal(vector.size, 2)
  t.equal(vector.get('z@1'), 0)
  const copy = vector.copy()
  copy.raise('a@1', 9)
  t.equal(vector.get('a@1'), 3, 'a copy is independent')
})

const tick = fc.oneof(
  fc.record({ wallMs: fc.integer({ min: 0, max: 1000 }) }),
  fc.record({ remote: fc.record({ wallMs: fc.integer({ min: 0, max: 100_000 }), counter: fc.nat(3) }) }),
)

t.test('hybrid clock: later than all it has issued or followed, whatever the wall clock does', async (t) => {
  fc.assert(
    fc.property(fc.array(tick, { maxLength: 30 }), (ticks) => {
      let now = 0
      const clock = new HybridClock(() => now)
      const seen = [{ wallMs: 0, counter: 0 }]
      for (const event of ticks) {
        if ('wallMs' in event) now = event.wallMs + 0.75
        else {
          clock.observe(event.remote)
          if (event.remote.wallMs <= now + MAX_CLOCK_AHEAD_MS) seen.push(event.remote)
        }
        const issued = clock.next()
        for (const earlier of seen) assert.ok(compareTimestamps(issued, earlier) > 0)
        const ahead = Math.max(...seen.map(({ wallMs }) => wallMs), Math.floor(now))
        assert.ok(issued.wallMs <= ahead, 'runs ahead only as far as what it followed')
        assert.ok(Number.isInteger(issued.wallMs))
        seen.push(issued)
      }
    }),
  )
  const clock = new HybridClock(() => 1000)
  clock.observe({ wallMs: 1001 + MAX_CLOCK_AHEAD_MS, counter: 0 })
  t.same(clock.next(), { wallMs: 1000, counter: 0 }, 'a far future is not followed')
  clock.restore({ wallMs: 1001 + MAX_CLOCK_AHEAD_MS, counter: 4 })
  t.same(clock.next(), { wallMs: 1001 + MAX_CLOCK_AHEAD_MS, counter: 5 }, 'but an own one is')
})
