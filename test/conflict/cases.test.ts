import fc from 'fast-check'
import t from 'tap'
import { BORROW_TIMEOUT_MS } from '../../src/conflict/borrowing.js'
import { Demand, FORGOTTEN_AFTER_MS } from '../../src/conflict/demand.js'
import { type Effect, EffectQueue, MAX_ASKS_PER_EFFECT } from '../../src/conflict/effects.js'
import { chooseLosers, visibleOverdraw } from '../../src/conflict/overdraw.js'
import {
  earlierTimeResolver,
  lowerIdResolver,
  manualResolver,
  serverPriorityResolver,
} from '../../src/conflict/resolver.js'
import { MAX_WAITING, RESOLVER_PATIENCE_MS, Settlement } from '../../src/conflict/settlement.js'
import { UNDISPUTED } from '../../src/conflict/standing.js'
import { CellKind, type Delta } from '../../src/crdt/cell.js'
import { Partition } from '../../src/crdt/partition.js'
import { PROVISIONAL_KEPT_MS, type ProvisionalWithdrawal } from '../../src/crdt/provisional.js'

const PLACE = { storage: 'vault', item: 'minecraft:diamond' }
const NOW = 1_000_000

class Server {
  readonly replica: string
  partition!: Partition
  settlement!: Settlement
  readonly journal: Delta[] = []

  constructor(
    name: string,
    readonly resolver = lowerIdResolver,
  ) {
    this.replica = `${name}@1`
    this.restart()
  }

  /** As after a crash: only the journal is left. */
  restart(): void {
    const partition: Partition = new Partition('p', (entry) => this.settlement?.changed(entry))
    for (const delta of this.journal) partition.merge(delta)
    partition.writeAs(this.replica)
    this.partition = partition
    this.settlement = new Settlement(partition, this.resolver)
  }

  get entry(): number {
    return this.partition.table.entry(
      this.partition.table.namespace(CellKind.counter, PLACE.storage),
      PLACE.item,
    )
  }

  get rights(): number | bigint {
    return this.partition.own.rights(this.entry)
  }

  deposit(amount: number | bigint): this {
    this.partition.own.deposit(this.entry, amount)
    return this.flush()
  }

  flush(): this {
    for (;;) {
      const flush = this.partition.prepareFlush(1000)
      if (!flush) return this
      this.journal.push(...flush.deltas)
      this.partition.completeFlush(flush)
    }
  }

  /** Takes everything that `from` knows. */
  hear(...from: Server[]): this {
    for (const { partition } of from) {
      for (const { replica } of partition.replicas()) {
        if (replica === this.replica) continue
        const delta = partition.deltaSince(replica, this.partition.known(replica), 1e6)
        if (!delta) continue
        this.partition.merge(delta)
        this.journal.push(delta)
      }
    }
    return this
  }

  reach(...others: Server[]): this {
    this.settlement.setReachable(new Set(others.map(({ replica }) => replica)))
    return this
  }

  withdraw(
    amount: number | bigint,
    id: string,
    mode: 'optimistic' | 'backed' = 'optimistic',
    untilMs = NOW + 500,
  ) {
    return this.settlement.withdraw({ ...PLACE, amount, id, mode, untilMs }, NOW)
  }

  run(nowMs = NOW): Effect[] {
    while (this.settlement.run(nowMs, 10));
    return this.settlement.takeEffects()
  }
}

/** All messages of two servers that reach each other, after a tick of both. Returns how many requests there were. */
function exchange(a: Server, b: Server, nowMs: number, isTick = true): number {
  let requests = 0
  for (const [server, other] of [
    [a, b],
    [b, a],
  ] as const) {
    if (isTick) server.settlement.tick(nowMs)
    for (const effect of server.run(nowMs)) {
      if (effect.type === 'borrow') {
        requests += 1
        for (const ask of effect.asks) other.settlement.borrowAsked(server.replica, ask, nowMs)
      }
      if (effect.type === 'answer') {
        for (const answer of effect.answers) other.settlement.borrowAnswered(server.replica, answer, nowMs)
      }
    }
  }
  a.flush().hear(b.flush())
  b.hear(a)
  return requests
}

function asks(effects: readonly Effect[]): [string, number | bigint, string][] {
  return effects.flatMap((effect) =>
    effect.type === 'borrow'
      ? effect.asks.map((ask): [string, number | bigint, string] => [effect.to, ask.target, ask.purpose])
      : [],
  )
}

t.test('backed within rights, provisional within what is visible, refused beyond', async (t) => {
  const [a, b] = [new Server('a').deposit(10), new Server('b').deposit(5)]
  a.hear(b)
  t.same(a.withdraw(10, 'id-1'), { type: 'backed' })
  t.equal(a.rights, 0)
  t.equal(a.settlement.tryWithdraw(a.entry, 1), false)
  t.equal(a.withdraw(3, 'id-2').type, 'provisional')
  t.equal(a.rights, -3)
  t.same(a.withdraw(3, 'id-3'), { type: 'insufficient-quantity', visible: 2 })
  t.equal(a.withdraw(10n ** 30n, 'id-4').type, 'insufficient-quantity')
})

t.test(
  'a debt is borrowed from the richest reachable holders first, and confirmed when covered',
  async (t) => {
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => new Server(name)) as [
      Server,
      Server,
      Server,
      Server,
    ]
    b.deposit(3)
    c.deposit(7)
    d.deposit(50)
    a.hear(b, c, d).reach(b, c)
    a.withdraw(9, 'id-1')
    const effects = a.run()
    t.same(
      asks(effects),
      [
        ['c@1', 7, 'debt'],
        ['b@1', 2, 'debt'],
      ],
      'd is out of reach',
    )
    t.same(asks(a.run()), [], 'asked once')
    c.settlement.borrowAsked(a.replica, { ...PLACE, target: 7, purpose: 'debt' }, NOW)
    a.hear(c.flush())
    t.same(
      a.run().filter(({ type }) => type === 'settled'),
      [],
      'not covered yet',
    )
    b.settlement.borrowAsked(a.replica, { ...PLACE, target: 2, purpose: 'debt' }, NOW)
    a.hear(b.flush())
    const [settled] = a.run()
    t.match(settled, { type: 'settled', withdrawal: { id: 'id-1', state: 'confirmed' } })
    t.equal(a.rights, 0)
  },
)

t.test('requests expire and are made again; a poor donor is left for the next', async (t) => {
  const [a, b, c] = [new Server('a'), new Server('b').deposit(5), new Server('c').deposit(4)]
  a.hear(b, c).reach(b, c)
  a.withdraw(4, 'id-1')
  t.same(asks(a.run()), [['b@1', 4, 'debt']])
  a.settlement.tick(NOW + BORROW_TIMEOUT_MS - 1)
  t.same(
    asks(a.run(NOW + BORROW_TIMEOUT_MS - 1)).filter(([, , purpose]) => purpose === 'debt'),
    [],
  )
  a.settlement.tick(NOW + BORROW_TIMEOUT_MS)
  const again = NOW + BORROW_TIMEOUT_MS
  t.same(asks(a.run(again)), [['b@1', 4, 'debt']])
  a.settlement.borrowAnswered(b.replica, { ...PLACE, purpose: 'debt', total: 1 }, again)
  t.same(asks(a.run(again)), [['c@1', 4, 'debt']])
})

t.test('a repeated, reordered or late request grants once, also across a crash', async (t) => {
  const b = new Server('b').deposit(10)
  t.doesNotThrow(() => b.settlement.borrowAsked(b.replica, { ...PLACE, target: 5, purpose: 'debt' }, NOW))
  t.equal(b.rights, 10, 'itself it grants nothing')
  b.settlement.takeEffects()
  const ask = (target: number) => b.settlement.borrowAsked('a@1', { ...PLACE, target, purpose: 'debt' }, NOW)
  ask(3)
  ask(3)
  t.equal(b.rights, 7, 'before the flush')
  b.flush()
  ask(3)
  ask(2)
  t.equal(b.rights, 7, 'after it')
  b.restart()
  t.equal(b.rights, 7, 'a durable grant survives')
  ask(5)
  ask(3)
  t.equal(b.rights, 5)
  b.restart()
  t.equal(b.rights, 7, 'one that was not durable was not answered either')
  ask(1000)
  t.equal(b.rights, 0, 'never more than there is')
  const answers = b.settlement.takeEffects()
  t.match(answers, [{ type: 'answer', to: 'a@1', answers: [{ total: 10, purpose: 'debt' }] }])
})

t.test(
  'waiting backed withdrawals: made in turn when rights come, refused with who has them when late',
  async (t) => {
    const [a, b] = [new Server('a').deposit(1), new Server('b').deposit(9)]
    a.hear(b).reach(b)
    t.same(a.withdraw(4, 'id-1', 'backed'), { type: 'waiting' })
    t.same(a.withdraw(5, 'id-2', 'backed'), { type: 'waiting' })
    t.same(
      asks(a.run()),
      [
        ['b@1', 3, 'debt'],
        ['b@1', 9, 'debt'],
      ].slice(0, 1),
    )
    b.settlement.borrowAsked(a.replica, { ...PLACE, target: 3, purpose: 'debt' }, NOW)
    a.hear(b.flush())
    t.match(
      a.run().filter(({ type }) => type !== 'borrow'),
      [{ type: 'withdrawn', id: 'id-1' }],
    )
    a.settlement.tick(NOW + 500)
    const refused = a.run(NOW + 500).filter(({ type }) => type === 'refused')
    t.equal(refused.length, 1)
    const [{ id, shortage }] = refused as [Extract<Effect, { type: 'refused' }>]
    t.equal(id, 'id-2')
    t.equal(shortage.quantity, 6)
    t.equal(shortage.ownRights, 0)
    t.equal(shortage.rights.get('b@1'), 6)
    for (let count = 0; count < MAX_WAITING; count++) a.withdraw(5, `w-${count}`, 'backed')
    t.same(a.withdraw(5, 'one-too-many', 'backed'), { type: 'overloaded' })
  },
)

t.test('a visible overdraw: the higher id gives back, on its own server only, exactly once', async (t) => {
  const [a, b, c] = [new Server('a'), new Server('b'), new Server('c').deposit(5)]
  a.hear(c)
  b.hear(c)
  a.withdraw(5, 'id-2')
  b.withdraw(5, 'id-1')
  a.flush().hear(b.flush())
  const early = a.partition.table.total(a.entry)
  t.equal(early, -5)
  const effects = a.run()
  t.match(
    effects.filter(({ type }) => type === 'settled'),
    [{ type: 'settled', withdrawal: { id: 'id-2', state: 'compensated' } }],
  )
  t.equal(a.partition.table.total(a.entry), 0)
  b.hear(a)
  t.same(
    b.run().filter(({ type }) => type === 'settled'),
    [],
    'the winner waits for its rights',
  )
  const flush = a.partition.prepareFlush(1)!
  t.same(
    flush.deltas.map(({ batches }) => batches?.length),
    [1],
    'one delta, one batch: never half done',
  )
  // The crash takes the compensation with it, and it is made again: once.
  a.restart()
  t.equal(a.partition.table.total(a.entry), -5)
  a.run()
  a.flush()
  a.restart()
  t.equal(a.partition.table.total(a.entry), 0)
  t.same(
    a.run().filter(({ type }) => type === 'settled'),
    [],
  )
  t.same(
    a.settlement.unacknowledged().map(({ id }) => id),
    ['id-2'],
    'told again after a start',
  )
  t.equal(a.settlement.acknowledge('id-2', NOW), true)
  t.equal(a.settlement.acknowledge('id-2', NOW), false)
  a.flush().restart()
  t.same(a.settlement.unacknowledged(), [])
})

t.test('servers whose resolvers disagree wait, then the order of ids decides', async (t) => {
  const higherWins = {
    ...lowerIdResolver,
    resolve: (x: ProvisionalWithdrawal, y: ProvisionalWithdrawal) => (x.id > y.id ? x : y),
  }
  const [a, b, c] = [new Server('a', higherWins), new Server('b'), new Server('c').deposit(5)]
  a.hear(c)
  b.hear(c)
  a.withdraw(5, 'id-2')
  b.withdraw(5, 'id-1')
  a.flush()
  b.flush().hear(a)
  a.hear(b)
  const settled = (server: Server, nowMs: number) => {
    server.settlement.tick(nowMs)
    return server.run(nowMs).flatMap((effect) => (effect.type === 'settled' ? [effect.withdrawal.id] : []))
  }
  for (const server of [a, b]) t.same(settled(server, NOW), [], 'each takes the other for the loser')
  for (const server of [a, b]) t.same(settled(server, NOW + RESOLVER_PATIENCE_MS - 1), [])
  t.same(settled(b, NOW + RESOLVER_PATIENCE_MS), [])
  t.same(settled(a, NOW + RESOLVER_PATIENCE_MS), ['id-2'])
})

t.test('a partial view compensates nobody', async (t) => {
  const [a, b, c] = [new Server('a'), new Server('b'), new Server('c').deposit(5)]
  b.hear(c).reach(c)
  c.settlement.borrowAsked(b.replica, { ...PLACE, target: 5, purpose: 'debt' }, NOW)
  b.hear(c.flush())
  t.equal(b.settlement.tryWithdraw(b.entry, 5), true, 'backed by a grant')
  a.hear(new Server('d').deposit(1))
  a.withdraw(1, 'id-9')
  const own = b.flush().partition.deltaSince(b.replica, 0, 1e6)!
  a.partition.merge(own)
  t.equal(a.partition.table.total(a.entry), -5, 'the spending is seen before what backs it')
  t.same(a.settlement.shortage(a.entry).quantity, 0, 'and 0 is shown')
  t.same(
    a.run().filter(({ type }) => type === 'settled'),
    [],
  )
  a.hear(c)
  t.equal(a.partition.table.total(a.entry), 0)
  t.same(
    a.run().filter(({ type }) => type === 'settled'),
    [],
  )
})

const withdrawal = (
  id: string,
  replica: string,
  amount: number | bigint,
  madeAtMs = 0,
): ProvisionalWithdrawal => ({
  id,
  replica,
  amount,
  madeAtMs,
  state: 'open',
  ...PLACE,
})

t.test('an overdraw counts when each debt is explained by its own server’s withdrawals', async (t) => {
  const rights = new Map([
    ['a@1', -4],
    ['b@1', -2],
    ['c@1', 1],
  ])
  const both = [withdrawal('1', 'a@1', 4), withdrawal('2', 'b@1', 2)]
  const none = UNDISPUTED
  t.equal(visibleOverdraw(-5, rights, both, none), 5)
  t.equal(visibleOverdraw(-5, rights, both.slice(1), none), 0)
  t.equal(
    visibleOverdraw(-5, rights, [withdrawal('1', 'a@1', 3), both[1]!, withdrawal('3', 'c@1', 9)], none),
    0,
  )
  t.equal(visibleOverdraw(5, rights, both, none), 0)
  t.equal(
    visibleOverdraw(
      -(2n ** 70n),
      new Map([['a@1', -(2n ** 70n)]]),
      [withdrawal('1', 'a@1', 2n ** 70n)],
      none,
    ),
    2n ** 70n,
  )
})

t.test('resolvers choose the losers, as few as will do', async (t) => {
  const all = [withdrawal('1', 'a@1', 4, 30), withdrawal('2', 'b@1', 2, 10), withdrawal('3', 'c@1', 3, 20)]
  const losers = (resolver: typeof lowerIdResolver, overdraw: number) =>
    chooseLosers(all, resolver, { ...PLACE, overdraw }).losers.map(({ id }) => id)
  t.same(losers(lowerIdResolver, 3), ['3'])
  t.same(losers(lowerIdResolver, 4), ['3', '2'])
  t.same(losers(earlierTimeResolver, 4), ['1'])
  t.same(losers(serverPriorityResolver(['c', 'a']), 1), ['2'])
  t.same(losers(serverPriorityResolver([]), 1), ['3'])
  t.same(losers(manualResolver(earlierTimeResolver), 5), ['1', '3'])
  t.equal(manualResolver().requiresManualResolution(all[0]!, undefined), true)
  fc.assert(
    fc.property(fc.shuffledSubarray(all, { minLength: 3 }), (order) => {
      const { losers } = chooseLosers(order, lowerIdResolver, { ...PLACE, overdraw: 5 })
      t.same(
        losers.map(({ id }) => id),
        ['3', '2'],
      )
    }),
  )
})

t.test('a parked case waits for a person, across a restart', async (t) => {
  const prepare = () => {
    const [a, c] = [new Server('a', manualResolver()), new Server('c').deposit(5)]
    a.hear(c)
    a.withdraw(4, 'id-1')
    c.settlement.tryWithdraw(c.entry, 3)
    a.flush().hear(c.flush())
    t.match(a.run(), [{ type: 'parked', withdrawal: { id: 'id-1' } }])
    a.flush().restart()
    t.same(a.run(), [])
    t.same(
      a.settlement.parked().map(({ id }) => id),
      ['id-1'],
    )
    t.equal(a.settlement.decide('id-2', 'keep', NOW), 'unknown')
    return a
  }
  const kept = prepare()
  t.equal(kept.settlement.decide('id-1', 'keep', NOW), 'decided')
  t.equal(kept.partition.table.total(kept.entry), 2, 'its debt of 4 is written off')
  t.equal(kept.rights, 0)
  t.equal(kept.settlement.decide('id-1', 'compensate', NOW), 'unknown', 'decided once')
  const given = prepare()
  t.equal(given.settlement.decide('id-1', 'compensate', NOW), 'decided')
  t.equal(given.partition.table.total(given.entry), 2)
  t.same(given.settlement.parked(), [])
})

t.test('an open withdrawal is written again before its cell could expire', async (t) => {
  const [a, c] = [new Server('a'), new Server('c').deposit(5)]
  a.hear(c)
  a.withdraw(4, 'id-1')
  a.flush()
  const half = NOW + PROVISIONAL_KEPT_MS / 2
  a.settlement.tick(half)
  t.equal(a.partition.own.isEmpty, true)
  a.settlement.tick(half + 1)
  a.flush()
  t.equal(a.partition.removeExpired(NOW + PROVISIONAL_KEPT_MS), 0)
  t.same(a.settlement.unacknowledged(), [])
  c.hear(a)
  t.equal(c.partition.removeExpired(half + 1 + PROVISIONAL_KEPT_MS), 1, 'no cell is kept for ever')
})

t.test(
  'reserves move to where withdrawals happen, and two busy servers leave each other alone',
  async (t) => {
    const [a, b] = [new Server('a'), new Server('b').deposit(1000)]
    a.hear(b).reach(b)
    b.reach(a)
    let traffic = 0
    let backed = 0
    for (let round = 0; round < 200; round++) {
      const nowMs = NOW + round * 100
      if (
        a.settlement.withdraw(
          { ...PLACE, amount: 1, id: `id-${String(round).padStart(4, '0')}`, mode: 'optimistic', untilMs: 0 },
          nowMs,
        ).type === 'backed'
      )
        backed += 1
      traffic += exchange(a, b, nowMs)
    }
    t.ok(backed >= 195, `${backed} of 200 backed`)
    t.ok(traffic <= 20, `${traffic} requests`)
    // Now both are busy and little is left: nobody gives what it needs itself.
    const before = [a.rights, b.rights]
    const { items } = a.settlement as unknown as { items: { readonly size: number } }
    t.equal(items.size, 1)
    a.settlement.tick(NOW + 200_000)
    t.equal(items.size, 0, 'what is idle is forgotten')
    for (let round = 0; round < 100; round++) b.settlement.tryWithdraw(b.entry, 1)
    b.settlement.tryWithdraw(b.entry, Number(b.rights) - 50)
    // Demand counts from the next tick on.
    b.settlement.tick(NOW + 20_000)
    b.settlement.borrowAsked(a.replica, { ...PLACE, target: 10_000, purpose: 'reserve' }, NOW + 20_000)
    t.equal(b.rights, 50)
    t.ok(before[0]! > 0)
  },
)

t.test('what is wanted every few seconds has its rights at hand, too', async (t) => {
  const [a, b] = [new Server('a'), new Server('b').deposit(1000)]
  a.hear(b).reach(b)
  b.reach(a)
  const backed: boolean[] = []
  for (let round = 0; round < 600; round++) {
    const nowMs = NOW + round * 100
    if (round % 20 === 0) {
      const request = { ...PLACE, amount: 1, mode: 'optimistic', untilMs: 0 } as const
      const id = `id-${String(round).padStart(4, '0')}`
      backed.push(a.settlement.withdraw({ ...request, id }, nowMs).type === 'backed')
    }
    // A debt is covered before anybody ticks.
    exchange(a, b, nowMs, false)
    exchange(a, b, nowMs, false)
    exchange(a, b, nowMs + 50)
  }
  t.equal(backed.length, 30)
  t.ok(backed.filter((isBacked) => !isBacked).length <= 2, 'only until the first reserve has come')
})

t.test('demand is a rate that fades', async (t) => {
  const demand = new Demand(0)
  t.equal(demand.isIdle(0), true)
  for (let second = 0; second < 60; second++) demand.add(10, second * 1000)
  t.ok(demand.reserve(60_000) > 80 && demand.reserve(60_000) < 110, String(demand.reserve(60_000)))
  t.equal(demand.isIdle(60_000 + 100_000), true)
  demand.add(2n ** 500n, 1e6)
  t.equal(typeof demand.reserve(1e6), 'bigint')
  const lastMs = 1e6 + FORGOTTEN_AFTER_MS
  t.equal(demand.isIdle(lastMs - 1), false)
  t.equal(demand.isIdle(lastMs), true, 'however large it was')
  t.equal(demand.reserve(lastMs), 0)
  for (let time = 0; time < 100; time++) demand.keep(7, 2e6)
  t.equal(demand.reserve(2e6), 7, 'what waits counts once')
  demand.keep(5, 2e6 + 1)
  t.equal(demand.reserve(2e6 + 1), 7)
  for (let time = 0; time < 60; time++) demand.keep(5, 2e6 + 1_000 * time)
  t.equal(demand.reserve(2e6 + 60_000), 5, 'and as long as it waits')
})

t.test('effects for one peer go together, in bounded parts', async (t) => {
  const queue = new EffectQueue()
  const ask = { ...PLACE, target: 1, purpose: 'debt' } as const
  for (let count = 0; count <= MAX_ASKS_PER_EFFECT; count++) queue.ask('a@1', ask)
  queue.ask('b@1', ask)
  queue.add({ type: 'withdrawn', id: 'x' })
  const sizes = queue
    .take()
    .map((effect) => ('asks' in effect ? [effect.to, effect.asks.length] : effect.type))
  t.same(sizes, ['withdrawn', ['a@1', MAX_ASKS_PER_EFFECT], ['a@1', 1], ['b@1', 1]])
  t.same(queue.take(), [])
})
