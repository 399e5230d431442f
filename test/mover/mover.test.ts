import fc from 'fast-check'
import t from 'tap'
import { CellKind } from '../../src/crdt/cell.js'
import { Partition } from '../../src/crdt/partition.js'
import { BURST_US, Budget } from '../../src/mover/budget.js'
import { MAX_REMEMBERED } from '../../src/mover/candidates.js'
import { DueQueue } from '../../src/mover/due-queue.js'
import { LOOKS_PER_SLICE, Mover } from '../../src/mover/mover.js'
import { type Move, type Route, VISIT_US } from '../../src/mover/transfer-run.js'

const SECOND_US = 1_000_000

/** One server with its own partition and mover; what is asked of others is written down. */
class Bench {
  readonly partition = new Partition('')
  readonly moves: (Move & { readonly atUs: number })[] = []
  readonly wishes: { readonly entry: number; readonly amount: number }[] = []
  /** Rights that a withdrawal under way needs. */
  reserved = 0
  looks = 0
  nowUs = 0
  readonly mover: Mover

  constructor() {
    this.partition.writeAs('a@1')
    const { table, own } = this.partition
    const total = table.total.bind(table)
    table.total = (entry) => {
      this.looks += 1
      return total(entry)
    }
    this.mover = new Mover({
      partition: this.partition,
      available: (entry) => Number(own.rights(entry)) - this.reserved,
      wanted: (entry, amount) => this.wishes.push({ entry, amount: Number(amount) }),
      moved: (move) => this.moves.push({ ...move, atUs: this.nowUs }),
    })
  }

  entry(storage: string, item: string): number {
    const { table } = this.partition
    return table.entry(table.namespace(CellKind.counter, storage), item)
  }

  deposit(storage: string, item: string, amount: number): void {
    this.partition.own.deposit(this.entry(storage, item), amount)
    this.mover.changedAt(storage, item)
  }

  quantity(storage: string, item: string): number {
    const { table } = this.partition
    return Number(table.total(this.entry(storage, item)))
  }

  run(id: string, route: Partial<Route> & Pick<Route, 'source' | 'target'>): void {
    this.mover.run(id, { rate: 64, matches: () => true, ...route }, this.nowUs)
  }

  /** As its driver does, until nothing is due any more or the time is over. */
  pass(us: number): void {
    const untilUs = this.nowUs + us
    for (;;) {
      const nextUs = this.mover.nextUs()
      if (nextUs === undefined || nextUs > untilUs) break
      this.nowUs = Math.max(this.nowUs, nextUs)
      this.mover.step(this.nowUs)
    }
    this.nowUs = untilUs
  }

  moved(id?: string): number {
    return this.moves
      .filter(({ transferId }) => id === undefined || transferId === id)
      .reduce((sum, { amount }) => sum + amount, 0)
  }
}

/** Never more than the rate allows, in any span between two moves of one transfer. */
function excess(moves: readonly { atUs: number; amount: number }[], rate: number): number {
  let worst = Number.NEGATIVE_INFINITY
  for (let first = 0; first < moves.length; first++) {
    let sum = 0
    for (let last = first; last < moves.length; last++) {
      sum += moves[last]!.amount
      const spanUs = moves[last]!.atUs - moves[first]!.atUs
      worst = Math.max(worst, sum - ((spanUs + BURST_US) * rate) / SECOND_US - 1)
    }
  }
  return worst
}

const rates = fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 1_000_000_000 }))

t.test('a budget neither drifts nor saves up', async (t) => {
  fc.assert(
    fc.property(rates, fc.array(fc.integer({ min: 1, max: 400_000 }), { minLength: 1 }), (rate, pauses) => {
      const budget = new Budget(rate, 7)
      let nowUs = 7
      let spent = 0
      for (const pause of pauses) {
        nowUs += pause
        const items = budget.available(nowUs)
        budget.spend(items)
        spent += items
      }
      return spent === Number((BigInt(rate) * BigInt(nowUs - 7)) / 1_000_000n)
    }),
  )
  fc.assert(
    fc.property(
      rates,
      rates,
      fc.array(fc.tuple(fc.integer({ min: 0, max: 3_000_000 }), fc.double({ min: 0, max: 1, noNaN: true }))),
      (rate, later, steps) => {
        const budget = new Budget(rate, 0)
        const moves: { atUs: number; amount: number }[] = []
        let nowUs = 0
        for (const [pause, share] of steps) {
          nowUs += pause
          const amount = Math.ceil(budget.available(nowUs) * share)
          budget.spend(amount)
          if (amount > 0) moves.push({ atUs: nowUs, amount })
        }
        const isBounded = excess(moves, rate) <= 0
        budget.setRate(later, nowUs)
        return isBounded && budget.available(nowUs) <= 1 + later / 2
      },
    ),
  )
  const slow = new Budget(1, 0)
  t.equal(slow.available(400_000), 0)
  t.equal(slow.readyAtUs(), SECOND_US)
  t.equal(slow.available(SECOND_US), 1)
})

t.test('what is due goes in order, each task at its last time', async () => {
  const step = fc.tuple(
    fc.constantFrom('put', 'remove', 'take'),
    fc.integer({ min: 0, max: 9 }),
    fc.integer({ min: 0, max: 50 }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const queue = new DueQueue<number>()
      let naive: { task: number; atUs: number }[] = []
      for (const [what, task, atUs] of steps) {
        if (what !== 'take') naive = naive.filter((due) => due.task !== task)
        if (what === 'put') {
          queue.put(task, atUs)
          naive.push({ task, atUs })
        } else if (what === 'remove') queue.remove(task)
        else {
          const first = naive.reduce<(typeof naive)[number] | undefined>(
            (best, due) => (best === undefined || due.atUs < best.atUs ? due : best),
            undefined,
          )
          if (queue.nextUs() !== first?.atUs) return false
          const expected = first !== undefined && first.atUs <= atUs ? first.task : undefined
          if (queue.take(atUs) !== expected) return false
          if (expected !== undefined) naive = naive.filter((due) => due.task !== expected)
        }
        if (queue.size !== naive.length) return false
      }
      return true
    }),
  )
})

t.test('a source is drained at the rate, and then costs nothing until it changes', async (t) => {
  const bench = new Bench()
  bench.deposit('mine', 'ore:iron', 1_000)
  bench.deposit('mine', 'ore:gold', 30)
  bench.deposit('mine', 'dirt', 5)
  bench.run('t', { source: 'mine', target: 'vault', matches: (item) => item.startsWith('ore:') })
  bench.pass(SECOND_US)
  t.ok(bench.moved() <= 64 && bench.moved() >= 48, `${bench.moved()} in the first second`)
  bench.pass(20 * SECOND_US)
  t.same(
    ['ore:iron', 'ore:gold', 'dirt'].map((item) => bench.quantity('vault', item)),
    [1_000, 30, 0],
  )
  t.equal(bench.quantity('mine', 'dirt'), 5)
  t.ok(excess(bench.moves, 64) <= 0)
  t.equal(bench.mover.nextUs(), undefined)
  t.same(bench.mover.progress('t'), { state: 'idle', moved: 1_030n, waiting: 0 })
  bench.deposit('mine', 'dirt', 5)
  bench.pass(SECOND_US)
  bench.deposit('mine', 'ore:gold', 3)
  t.equal(bench.moved(), 1_030)
  bench.pass(1)
  t.equal(bench.moved(), 1_033, 'what comes to an idle transfer moves at once')
})

t.test('many transfers, cycles among them: nothing is lost or made, no rate exceeded', async (t) => {
  const kinds = ['iron', 'gold', 'dirt']
  const storages = ['a', 'b', 'c', 'd']
  const step = fc.oneof(
    fc.record({
      deposit: fc.constantFrom(...storages),
      item: fc.constantFrom(...kinds),
      amount: fc.integer({ min: 1, max: 500 }),
    }),
    fc.record({ pass: fc.integer({ min: 0, max: 2_000_000 }) }),
    fc.record({
      id: fc.integer({ min: 0, max: 5 }),
      from: fc.integer({ min: 0, max: 3 }),
      by: fc.integer({ min: 1, max: 3 }),
      only: fc.option(fc.constantFrom(...kinds)),
    }),
    fc.record({ stop: fc.integer({ min: 0, max: 5 }) }),
  )
  let moves = 0
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 20, maxLength: 60 }),
      fc.integer({ min: 1, max: 5_000 }),
      (steps, rate) => {
        const bench = new Bench()
        const deposited = new Map<string, number>()
        for (const each of steps) {
          if ('deposit' in each) {
            bench.deposit(each.deposit, each.item, each.amount)
            deposited.set(each.item, (deposited.get(each.item) ?? 0) + each.amount)
          } else if ('pass' in each) bench.pass(each.pass)
          else if ('stop' in each) bench.mover.stop(`t${each.stop}`)
          else {
            const { id, from, by, only } = each
            const source = storages[from]!
            const target = storages[(from + by) % 4]!
            const matches = (item: string) => only === null || item === only
            bench.run(`t${id}`, { source, target, rate, matches })
          }
        }
        bench.pass(SECOND_US)
        moves += bench.moves.length
        for (let id = 0; id < 6; id++) {
          const own = bench.moves.filter(({ transferId }) => transferId === `t${id}`)
          // A transfer that was given up and taken again has two budgets.
          const stops = steps.filter((each) => 'stop' in each && each.stop === id).length
          if (stops === 0 && excess(own, rate) > 0) return false
        }
        return kinds.every((item) => {
          const held = storages.map((storage) => bench.quantity(storage, item))
          const sum = held.reduce((total, quantity) => total + quantity, 0)
          return sum === (deposited.get(item) ?? 0) && held.every((quantity) => quantity >= 0)
        })
      },
    ),
    { numRuns: 300 },
  )
  t.ok(moves > 500, `${moves} moves`)
})

t.test('a move is one batch: neither side leaves without the other', async (t) => {
  const bench = new Bench()
  const other = new Partition('')
  other.writeAs('b@1')
  for (let kind = 0; kind < 40; kind++) bench.deposit('mine', `item:${kind}`, 10)
  bench.run('t', { source: 'mine', target: 'vault', rate: 1_000 })
  for (let round = 0; round < 20; round++) {
    bench.pass(VISIT_US)
    const flush = bench.partition.prepareFlush(1)
    if (!flush) continue
    bench.partition.completeFlush(flush)
    for (const delta of flush.deltas) {
      other.merge(delta)
      for (let kind = 0; kind < 40; kind++) {
        const { table } = other
        const held = ['mine', 'vault'].map((storage) =>
          Number(table.total(table.entry(table.namespace(CellKind.counter, storage), `item:${kind}`))),
        )
        const sum = held[0]! + held[1]!
        t.ok(sum === 10 || sum === 0, `item ${kind}: ${held}`)
      }
    }
  }
  t.equal(bench.moved(), 400)
})

t.test(
  'what is visible without rights waits, asks for what it may move at once, and moves when they come',
  async (t) => {
    const bench = new Bench()
    const other = new Partition('')
    other.writeAs('b@1')
    const place = (partition: Partition) => {
      const { table } = partition
      return table.entry(table.namespace(CellKind.counter, 'mine'), 'iron')
    }
    const flush = () => {
      const flush = other.prepareFlush(1_000)!
      other.completeFlush(flush)
      for (const delta of flush.deltas) bench.partition.merge(delta)
      bench.mover.changed(bench.entry('mine', 'iron'))
    }
    other.own.deposit(place(other), 100)
    flush()
    bench.deposit('mine', 'gold', 20)
    bench.run('t', { source: 'mine', target: 'vault', rate: 10 })
    bench.pass(30 * SECOND_US)
    t.equal(bench.quantity('vault', 'gold'), 20, 'one kind that waits does not hold up another')
    t.same(bench.mover.progress('t'), { state: 'waiting-for-rights', moved: 20n, waiting: 1 })
    const most = Math.max(...bench.wishes.map(({ amount }) => amount))
    t.ok(most >= 1 && most <= 0.5 * 10 + 1, `${most} wanted at once`)
    t.ok(bench.wishes.length >= 30 / 5, 'and again, as long as they wait')
    const looks = bench.looks
    bench.pass(60 * SECOND_US)
    t.ok(bench.looks - looks <= 60, 'it looks again every 5 seconds')
    other.own.grant(place(other), 'a@1', 70)
    flush()
    bench.reserved = 40
    bench.pass(10 * SECOND_US)
    t.equal(bench.quantity('vault', 'iron'), 30, 'what a withdrawal waits for is left to it')
    bench.reserved = 0
    bench.pass(10 * SECOND_US)
    t.equal(bench.quantity('vault', 'iron'), 70)
    t.equal(bench.quantity('mine', 'iron'), 30)
  },
)

t.test('work per slice is bounded, whatever there is', async (t) => {
  const bench = new Bench()
  const kinds = 100_000
  for (let kind = 0; kind < kinds; kind++) bench.partition.own.deposit(bench.entry('mine', `dirt:${kind}`), 1)
  bench.partition.own.deposit(bench.entry('mine', 'iron'), 5)
  bench.run('t', { source: 'mine', target: 'vault', matches: (item) => item === 'iron' })
  let slices = 0
  bench.nowUs = SECOND_US
  while ((bench.mover.nextUs() ?? Number.POSITIVE_INFINITY) <= bench.nowUs) {
    const before = bench.looks
    bench.mover.step(bench.nowUs)
    slices += 1
    t.ok(bench.looks - before <= LOOKS_PER_SLICE + 1)
  }
  t.equal(bench.moved(), 5)
  t.ok(slices >= kinds / LOOKS_PER_SLICE && slices < 500, `${slices} slices`)
  bench.pass(SECOND_US)
  const before = bench.looks
  bench.deposit('mine', 'iron', 7)
  bench.pass(SECOND_US)
  t.equal(bench.moved(), 12)
  t.ok(bench.looks - before < 10, 'a change is found without a walk')
  for (let kind = 0; kind < 2 * MAX_REMEMBERED; kind++) bench.deposit('mine', `dirt:${kind}`, 1)
  bench.deposit('mine', 'iron', 1)
  bench.pass(SECOND_US)
  t.equal(bench.moved(), 13, 'more changes than are remembered: all are looked at')
})

t.test('ten thousand idle transfers cost nothing; a change costs those of its source', async (t) => {
  const bench = new Bench()
  for (let number = 0; number < 10_000; number++)
    bench.run(`t${number}`, { source: `s${number}`, target: 'hub' })
  bench.pass(10 * SECOND_US)
  t.equal(bench.mover.nextUs(), undefined)
  const before = bench.looks
  bench.deposit('s77', 'iron', 5)
  bench.deposit('elsewhere', 'iron', 5)
  bench.pass(SECOND_US)
  t.equal(bench.quantity('hub', 'iron'), 5)
  t.ok(bench.looks - before < 10)
})

t.test('changes of a transfer take effect at once, and bring no second burst', async (t) => {
  const bench = new Bench()
  bench.deposit('mine', 'iron', 1_000_000)
  bench.deposit('mine', 'gold', 1_000_000)
  const isIron = (item: string) => item === 'iron'
  bench.run('t', { source: 'mine', target: 'vault', rate: 1_000, matches: isIron })
  bench.pass(SECOND_US)
  const first = bench.moved()
  for (let again = 0; again < 100; again++)
    bench.run('t', { source: 'mine', target: 'vault', rate: 1_000, matches: isIron })
  bench.pass(1)
  t.ok(bench.moved() - first <= 1_000, 'the budget is the same one')
  t.equal(bench.quantity('vault', 'gold'), 0)
  bench.run('t', { source: 'mine', target: 'bank', rate: 2, matches: (item) => item === 'gold' })
  const second = bench.moved()
  bench.pass(10 * SECOND_US)
  t.ok(Math.abs(bench.moved() - second - 20) <= 2, `${bench.moved() - second} in ten seconds at 2 a second`)
  t.equal(bench.quantity('bank', 'gold'), bench.moved() - second)
  bench.mover.stop('t')
  bench.pass(10 * SECOND_US)
  t.equal(bench.quantity('bank', 'gold'), bench.moved() - second)
  t.equal(bench.mover.progress('t'), undefined)
  t.equal(bench.mover.nextUs(), undefined)
})
