import fc from 'fast-check'
import t from 'tap'
import type { Timer } from '../../src/environment/environment.js'
import { Acknowledgements } from '../../src/gossip/acknowledgements.js'
import { type AwaitedLevel, LevelWaiters } from '../../src/node/levels.js'
import { Milestone, type WritePosition } from '../../src/node/write-group.js'

const SELF = 'self'
const OTHERS = ['a', 'b', 'c', 'd']
const PARTITIONS = ['', 'world:nether']
const LEVELS: readonly AwaitedLevel[] = ['ANY', 'QUORUM', 'STRONG']

/** A node's waiters, with the servers of the mesh and the timers in the hands of the test. */
class Waiting {
  readonly acknowledgements = new Acknowledgements()
  readonly timers: (() => void)[] = []
  servers = [SELF, ...OTHERS]
  isReady = true
  /** How often an acknowledgement was looked up. */
  lookUps = 0
  readonly waiters: LevelWaiters

  constructor() {
    const { get } = this.acknowledgements
    this.acknowledgements.get = (...args) => {
      this.lookUps += 1
      return get.apply(this.acknowledgements, args)
    }
    this.waiters = new LevelWaiters(
      SELF,
      this.acknowledgements,
      () => this.servers,
      {
        after: (_: number, task: () => void): Timer => {
          this.timers.push(task)
          return { cancel: () => this.timers.splice(this.timers.indexOf(task), 1) }
        },
      } as never,
      () => this.isReady,
    )
  }
}

/** One who waits, and what has become of it. */
interface Asked {
  readonly level: AwaitedLevel
  readonly position: WritePosition
  readonly numbered: Milestone<WritePosition>
  readonly abort: AbortController
  outcome: 'waiting' | 'reached' | string
  expected: 'waiting' | 'reached' | string
}

type Step =
  | { readonly type: 'ask'; level: AwaitedLevel; partition: string; number: number; isNumbered: boolean }
  | { readonly type: 'number'; which: number }
  | { readonly type: 'acknowledge'; server: string; partition: string; number: number }
  | { readonly type: 'members'; servers: string[] }
  | { readonly type: 'ready'; isReady: boolean }
  | { readonly type: 'abort'; which: number }
  | { readonly type: 'time is up'; which: number }

const partition = fc.constantFrom(...PARTITIONS)
const number = fc.integer({ min: 1, max: 12 })
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constant('ask' as const),
      level: fc.constantFrom(...LEVELS),
      partition,
      number,
      isNumbered: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('acknowledge' as const),
      server: fc.constantFrom(...OTHERS),
      partition,
      number,
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('number' as const), which: fc.nat() }) },
  fc.record({ type: fc.constant('members' as const), servers: fc.subarray(OTHERS) }),
  fc.record({ type: fc.constant('ready' as const), isReady: fc.boolean() }),
  { weight: 2, arbitrary: fc.record({ type: fc.constant('abort' as const), which: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('time is up' as const), which: fc.nat() }) },
)

t.test(
  'whoever waits is told as soon as enough servers hold the write: as by counting anew each time',
  async (t) => {
    let reached = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60, size: 'max' }), async (steps) => {
        const waiting = new Waiting()
        const asked: Asked[] = []
        const held = new Map<string, number>()
        /** Straight from the definition. */
        const judge = () => {
          for (const one of asked) {
            if (one.expected !== 'waiting' || !one.numbered.reached || !waiting.isReady) continue
            const { partition, number } = one.position
            const { servers } = waiting
            const count = servers.filter(
              (server) => server === SELF || (held.get(`${server} ${partition}`) ?? 0) >= number,
            ).length
            const needed = {
              ANY: 2,
              QUORUM: Math.floor(servers.length / 2) + 1,
              STRONG: servers.length,
              ONE: 1,
            }
            if (count >= needed[one.level]) one.expected = 'reached'
          }
        }
        const end = (which: number, how: (one: Asked, position: number) => void) => {
          const open = asked.filter(({ expected }) => expected === 'waiting')
          const one = open[which % open.length]
          if (one) how(one, open.indexOf(one))
        }
        for (const step of steps) {
          if (step.type === 'ask') {
            const position = { partition: step.partition, replica: `${SELF}@1`, number: step.number }
            const one: Asked = {
              level: step.level,
              position,
              numbered: new Milestone<WritePosition>(),
              abort: new AbortController(),
              outcome: 'waiting',
              expected: 'waiting',
            }
            asked.push(one)
            if (step.isNumbered) one.numbered.reach(position)
            waiting.waiters.reach(one.numbered, one.level, { signal: one.abort.signal }).then(
              () => {
                one.outcome = 'reached'
                reached += 1
              },
              ({ code }) => {
                one.outcome = code
              },
            )
          } else if (step.type === 'number') {
            const open = asked.filter(({ numbered }) => !numbered.reached)
            const one = open[step.which % open.length]
            one?.numbered.reach(one.position)
          } else if (step.type === 'acknowledge') {
            const key = `${step.server} ${step.partition}`
            held.set(key, Math.max(held.get(key) ?? 0, step.number))
            waiting.acknowledgements.raise(step.server, step.partition, `${SELF}@1`, step.number)
            waiting.waiters.check()
          } else if (step.type === 'members') {
            waiting.servers = [SELF, ...step.servers]
            waiting.waiters.check()
          } else if (step.type === 'ready') {
            waiting.isReady = step.isReady
            waiting.waiters.check()
          } else if (step.type === 'abort') {
            end(step.which, (one) => {
              one.expected = 'ABORTED'
              one.abort.abort()
            })
          } else {
            // Timers stand in the order of those who wait.
            end(step.which, (one, position) => {
              one.expected = 'LEVEL_NOT_REACHED'
              waiting.timers[position]!()
            })
          }
          await new Promise(setImmediate)
          judge()
          t.same(
            asked.map(({ outcome }) => outcome),
            asked.map(({ expected }) => expected),
          )
        }
      }),
      { numRuns: 100 },
    )
    t.ok(reached > 100, `${reached} reached their level`)
  },
)

t.test('an acknowledgement costs as much as it serves, however many wait', async (t) => {
  const lookUps: number[] = []
  for (const count of [10, 5_000]) {
    const waiting = new Waiting()
    let reached = 0
    let ended = 0
    for (let number = 1; number <= count; number++) {
      const numbered = new Milestone<WritePosition>()
      numbered.reach({ partition: '', replica: `${SELF}@1`, number })
      waiting.waiters.reach(numbered, 'QUORUM', {}).then(
        () => {
          reached += 1
        },
        ({ code }) => {
          ended += code === 'NOT_RUNNING' ? 1 : 0
        },
      )
    }
    await new Promise(setImmediate)
    for (const server of ['a', 'b']) waiting.acknowledgements.raise(server, '', `${SELF}@1`, 3)
    waiting.lookUps = 0
    for (let round = 0; round < 10; round++) waiting.waiters.check()
    lookUps.push(waiting.lookUps)
    await new Promise(setImmediate)
    t.equal(reached, 3)
    waiting.waiters.stop()
    await new Promise(setImmediate)
    t.equal(ended, count - 3)
  }
  t.equal(lookUps[1], lookUps[0], `${lookUps[0]} look-ups in ten checks`)
})
