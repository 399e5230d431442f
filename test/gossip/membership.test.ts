import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { ArrivalHistory, type FailureDetectorOptions } from '../../src/gossip/failure-detector.js'
import { FORGET_AFTER_MS, isNewer, Membership } from '../../src/gossip/membership.js'
import {
  heartbeatFromTuple,
  heartbeatToTuple,
  type LifeSign,
  MAX_SERVERS,
} from '../../src/gossip/messages.js'
import { FrameError } from '../../src/sync/errors.js'

const OPTIONS: FailureDetectorOptions = {
  intervalMs: 1000,
  suspectPhi: 3,
  deadPhi: 8,
  acceptablePauseMs: 2000,
}

function sign(server: string, beat: number, starts = 1, incarnation = '1'): LifeSign {
  return { server, replica: `${server}@${incarnation}`, starts, beat }
}

/** A membership with its clock, and what it reported as "server: before>after". */
function watched(options: FailureDetectorOptions = OPTIONS) {
  const changes: string[] = []
  const membership = new Membership('me@1', 1, options, ({ server, before, after }) =>
    changes.push(`${server}: ${before}>${after}`),
  )
  return { membership, changes }
}

/** phi from the definition: the normal tail integrated by Simpson's rule, no closed form. */
function naivePhi(gaps: readonly number[], silenceMs: number): number {
  const { intervalMs, acceptablePauseMs } = OPTIONS
  const known = gaps.length >= 4
  const measured = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length
  const mean = known ? Math.max(measured, intervalMs) : intervalMs
  const variance = known
    ? gaps.reduce((sum, gap) => sum + (gap - measured) ** 2, 0) / gaps.length
    : (intervalMs / 2) ** 2
  const deviation = Math.max(Math.sqrt(variance), intervalMs / 4)
  const from = (silenceMs - mean - acceptablePauseMs) / deviation
  const start = Math.max(from, -9)
  const steps = 4000
  const width = (Math.max(10, start + 6) - start) / steps
  let area = 0
  for (let step = 0; step <= steps; step++) {
    const x = start + step * width
    area += Math.exp((-x * x) / 2) * (step === 0 || step === steps ? 1 : step % 2 === 1 ? 4 : 2)
  }
  return -Math.log10((area * width) / 3 / Math.sqrt(2 * Math.PI))
}

t.test('phi is the improbability of the silence, as computed by hand', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 3000 }), { maxLength: 60 }),
      fc.integer({ min: 0, max: 9000 }),
      (gaps, silenceMs) => {
        const history = new ArrivalHistory(0, OPTIONS)
        let nowMs = 0
        for (const gap of gaps) {
          nowMs += gap
          history.heard(nowMs)
        }
        const expected = naivePhi(gaps, silenceMs)
        if (expected > 8) return // dead by then
        // The logistic form is an approximation: good near the middle, up to a fifth too high far out.
        const phi = history.phi(nowMs + silenceMs)
        const tolerance = expected < 3 ? 0.02 + expected * 0.02 : expected * 0.2
        assert.ok(Math.abs(phi - expected) <= tolerance, `${phi} for ${expected}`)
      },
    ),
  )
  t.pass()
})

t.test('phi only grows with the silence, stays finite, and remembers 64 gaps', async (t) => {
  const history = new ArrivalHistory(0, OPTIONS)
  for (let beat = 1; beat <= 300; beat++) history.heard(beat * (beat < 200 ? 3000 : 1000))
  let before = -1
  for (let silence = 0; silence < 1e9; silence = silence * 1.2 + 10) {
    const phi = history.phi(300_000 + silence)
    t.ok(phi >= before && Number.isFinite(phi))
    before = phi
  }
  const { gaps } = history as unknown as { gaps: number[] }
  t.equal(gaps.length, 64)
})

t.test('own lag is forgiven, but never in advance', async (t) => {
  const history = new ArrivalHistory(0, OPTIONS)
  for (let beat = 1; beat <= 10; beat++) history.heard(beat * 1000)
  const honest = history.phi(14_000)
  history.forgive(3000, 14_000)
  t.ok(history.phi(14_000) < 0.1 && honest > 1)
  history.forgive(60_000, 14_000)
  t.equal(history.silenceMs(14_000), 0, 'what is still to come counts in full')
})

t.test('a broken link makes impatient once, however often it breaks', async (t) => {
  const { membership } = watched()
  for (let beat = 1; beat <= 10; beat++) membership.hear(sign('x', beat), beat * 1000)
  const before = membership.phi('x', 12_000)
  membership.linkBroken('x')
  const after = membership.phi('x', 12_000)
  t.ok(after > before)
  for (let flap = 0; flap < 10; flap++) membership.linkBroken('x')
  t.equal(membership.phi('x', 12_000), after)
  membership.linkBroken('nobody')
})

t.test('at five ticks a second nobody flaps, whatever the jitter', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(200), fc.nat(200)), { minLength: 50, maxLength: 150 }),
      fc.nat(40),
      (jitters, links) => {
        const { membership, changes } = watched()
        let beat = 0
        // A burst of extra signs while links come up.
        for (let link = 0; link < links; link++) membership.hear(sign('x', ++beat), link)
        let nowMs = 0
        for (const [theirs, ours] of jitters) {
          // Both servers act only at their next tick of 200 ms; once in a while a tick takes 800 ms longer.
          const stall = theirs === 200 ? 800 : 0
          nowMs += 1000 + theirs + stall
          membership.tick(nowMs + ours, nowMs + ours + 1000)
          membership.hear(sign('x', ++beat), nowMs + ours)
        }
        assert.deepEqual(changes, ['x: unknown>alive'])
      },
    ),
  )
  t.pass()
})

t.test('a pause that was called acceptable is no reason to suspect anybody', async (t) => {
  const { membership, changes } = watched()
  for (let beat = 1; beat <= 90; beat++) membership.hear(sign('x', beat), beat * 2)
  membership.tick(180 + 3000, 180 + 4000)
  t.same(changes, ['x: unknown>alive'], 'also after many extra signs in a short time')
})

t.test('a stopped server is suspected, then dead, within some heartbeats; it is reported once', async (t) => {
  const { membership, changes } = watched()
  for (let second = 1; second <= 30; second++) {
    membership.tick(second * 1000, (second + 1) * 1000)
    membership.hear(sign('x', second), second * 1000)
  }
  const seen = new Map<string, number>()
  for (let second = 31; second <= 60; second++) {
    membership.tick(second * 1000, (second + 1) * 1000)
    if (!seen.has(membership.status('x'))) seen.set(membership.status('x'), second - 30)
  }
  t.same(changes, ['x: unknown>alive', 'x: alive>suspect', 'x: suspect>dead'])
  t.ok(seen.get('suspect')! >= 3 && seen.get('suspect')! <= 5, `suspected after ${seen.get('suspect')} s`)
  t.ok(seen.get('dead')! <= 6, `dead after ${seen.get('dead')} s`)
})

t.test('a server that stalled itself suspects nobody for it', async (t) => {
  const { membership, changes } = watched()
  for (let second = 1; second <= 10; second++) {
    membership.tick(second * 1000, (second + 1) * 1000)
    membership.hear(sign('x', second), second * 1000)
  }
  // 30 seconds asleep; the tick comes before the messages that waited.
  membership.tick(40_000, 41_000)
  t.equal(membership.status('x'), 'alive')
  membership.hear(sign('x', 40), 40_001)
  membership.tick(41_000, 42_000)
  t.same(changes, ['x: unknown>alive'])
  // Silence after that is held against x as ever, also while this server keeps lagging.
  let nowMs = 41_000
  for (let tick = 0; tick < 8; tick++) {
    nowMs += 1900
    membership.tick(nowMs, nowMs + 1000)
  }
  t.equal(membership.status('x'), 'dead')
})

/** x has been heard up to `beat` and then declared dead, at 60 s. */
function withDead(beat = 20) {
  const { membership, changes } = watched()
  for (let second = 1; second <= beat; second++) membership.hear(sign('x', second), second * 1000)
  for (let second = beat; second <= 60; second++) membership.tick(second * 1000, (second + 1) * 1000)
  assert.equal(membership.status('x'), 'dead')
  changes.length = 0
  return { membership, changes }
}

t.test('second-hand news of a dead server never revives it', async (t) => {
  const { membership, changes } = withDead()
  for (let repeat = 0; repeat < 100; repeat++) {
    membership.hear(sign('x', 20), 61_000 + repeat)
    membership.hear(sign('x', 1 + (repeat % 20)), 61_000 + repeat)
    membership.hear(sign('x', 5000, 0), 61_000 + repeat)
    membership.hear(sign('x', 5000, 9, '0'), 61_000 + repeat)
  }
  t.same(changes, [])
  t.notOk(
    membership.beat().some(({ server }) => server === 'x'),
    'nor is it passed on',
  )
})

t.test('a dead server that beats again is alive; if it does not go on it is dead again', async (t) => {
  const { membership, changes } = withDead()
  membership.hear(sign('x', 21), 61_000)
  t.same(changes, ['x: dead>alive'])
  for (let second = 62; second <= 70; second++) membership.tick(second * 1000, (second + 1) * 1000)
  t.equal(membership.status('x'), 'dead')
})

t.test(
  'a restart counts from one again and is newer; so is a new incarnation, whatever its counts',
  async (t) => {
    const { membership, changes } = withDead()
    membership.hear(sign('x', 1, 2), 61_000)
    t.same(changes.splice(0), ['x: dead>alive'])
    membership.hear(sign('x', 30, 1), 61_100)
    t.equal(membership.replicaOf('x'), 'x@1')
    membership.hear(sign('x', 1, 1, '2'), 61_200)
    t.equal(membership.replicaOf('x'), 'x@2')
    membership.hear(sign('x', 99, 99, '1'), 61_300)
    t.equal(membership.replicaOf('x'), 'x@2', 'what the old incarnation still says is old')
    t.same(changes, [])
  },
)

t.test(
  'own signs stay ahead of the old ones through a new incarnation and the restart after it',
  async (t) => {
    // Started for the 7th time, then a new incarnation (its first start), then a restart (its second).
    const before = new Membership('me@1', 7, OPTIONS, () => undefined)
    const signs = [before.beat()[0]!, before.beat()[0]!]
    before.changeIncarnation('me@2', 1)
    for (let beat = 0; beat < 50; beat++) signs.push(before.beat()[0]!)
    const after = new Membership('me@2', 2, OPTIONS, () => undefined)
    signs.push(after.beat()[0]!)
    for (let position = 1; position < signs.length; position++) {
      t.ok(isNewer(signs[position]!, signs[position - 1]!))
    }
  },
)

t.test('order of signs is total: incarnation, then starts, then beat', async (t) => {
  const any = fc.tuple(fc.nat(2), fc.nat(2), fc.nat(2))
  fc.assert(
    fc.property(any, any, (left, right) => {
      const [one, other] = [left, right].map(([incarnation, starts, beat]) =>
        sign('x', beat, starts, `${incarnation}`),
      )
      const expected = left.join('') > right.join('')
      assert.equal(isNewer(one!, other!), expected)
    }),
  )
  t.pass()
})

t.test('who said goodbye is gone at once and for good, until it starts again', async (t) => {
  const { membership, changes } = watched()
  membership.hear(sign('x', 1), 1000)
  membership.left('x', 1500)
  membership.hear(sign('x', 2), 1600)
  membership.hear(sign('x', 9), 9000)
  for (let second = 2; second < 30; second++) membership.tick(second * 1000, (second + 1) * 1000)
  t.same(changes.splice(0), ['x: unknown>alive', 'x: alive>left'])
  t.notOk(membership.beat().some(({ server }) => server === 'x'))
  membership.hear(sign('x', 1, 2), 31_000)
  t.same(changes, ['x: left>alive'])
  membership.left('nobody', 1)
})

t.test('the dead and departed are forgotten after a day', async (t) => {
  const { membership } = withDead()
  membership.hear(sign('y', 1), 60_000)
  membership.left('y', 60_000)
  membership.tick(60_000 + FORGET_AFTER_MS - 60_000, 0)
  t.same([...membership.servers()].sort(), ['x', 'y'])
  membership.tick(61_000 + FORGET_AFTER_MS, 0)
  t.same([...membership.servers()], [])
  t.equal(membership.status('x'), 'unknown')
})

t.test('lies: about oneself, about others, about a thousand servers', async (t) => {
  const { membership, changes } = watched()
  membership.hear(sign('me', 1e9, 9, '9'), 1)
  membership.hear({ server: 'x', replica: 'y@1', starts: 1, beat: 1 }, 1)
  t.same(changes, [])
  t.equal(membership.status('me'), 'alive')
  for (let number = 0; number < 5000; number++) membership.hear(sign(`s${number}`, 1), 1)
  const signs = membership.beat()
  t.equal(signs.length, MAX_SERVERS, 'no more than a peer accepts')
  t.same(heartbeatFromTuple(heartbeatToTuple({ signs, linked: ['a'] })).signs, signs)
  for (const bad of [
    ['x', 'y@1', 1, 1],
    ['x', 'x', 1, 1],
    ['x\n', 'x\n@1', 1, 1],
    ['x', 'x@1', -1, 1],
    ['x', 'x@1', 1],
  ]) {
    t.throws(() => heartbeatFromTuple([11, [bad], []]), FrameError)
  }
  t.throws(() => heartbeatFromTuple([11, signs.concat(signs).map(() => ['x', 'x@1', 1, 1]), []]), FrameError)
})
