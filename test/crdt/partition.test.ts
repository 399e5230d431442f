import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { type Cell, CellKind, type Delta } from '../../src/crdt/cell.js'
import { MAX_BATCH_WRITES } from '../../src/crdt/limits.js'
import { MAX_GENERATION_CHANGES } from '../../src/crdt/own-writes.js'
import { Partition } from '../../src/crdt/partition.js'
import { InvariantViolation } from '../../src/sync/errors.js'
import { checksums, History, step } from './history.js'

/** `HISTORIES=5000` for a long run. */
const RUNS = Number(process.env.HISTORIES ?? 400)

t.test(
  'random histories: the naive twin agrees at each step, settled is true, healed is equal',
  async (t) => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 80, size: 'max' }),
        fc.integer({ min: 1, max: 400 }),
        (steps, bytes) => {
          const history = new History()
          for (const action of steps) history.run(action)
          history.heal(bytes)
          const [first, ...others] = history.servers
          for (const other of others)
            assert.deepEqual(checksums(other.partition), checksums(first!.partition))
        },
      ),
      { numRuns: RUNS },
    )
    t.pass(`${RUNS} histories`)
  },
)

const REPLICA = 'a@1'

/** A replica that has flushed some histories of writes; returns it and its deltas cut at `bytes`. */
function written(writes: readonly number[], bytes: number): { source: Partition; deltas: Delta[] } {
  const source = new Partition('p')
  source.writeAs(REPLICA)
  const items = source.table.namespace(CellKind.counter, 's')
  for (const write of writes) {
    source.own.deposit(source.table.entry(items, `item${write % 7}`), 1 + (write % 3))
    if (write % 4 === 0) flush(source)
  }
  flush(source)
  return { source, deltas: cut(source, bytes) }
}

function flush(partition: Partition, bytes = 1000): void {
  for (;;) {
    const prepared = partition.prepareFlush(bytes)
    if (!prepared) return
    partition.completeFlush(prepared)
  }
}

function cut(source: Partition, bytes: number, replica = REPLICA): Delta[] {
  const deltas: Delta[] = []
  for (let from = 0; ; from = deltas.at(-1)!.to) {
    const delta = source.deltaSince(replica, from, bytes)
    if (!delta) return deltas
    deltas.push(delta)
  }
}

t.test('merge is idempotent, commutative and associative over whatever arrives', async (t) => {
  const numbers = fc.array(fc.nat(100), { minLength: 1, maxLength: 40 })
  fc.assert(
    fc.property(
      numbers,
      numbers,
      fc.integer({ min: 1, max: 200 }),
      fc.infiniteStream(fc.nat()),
      (writes, more, bytes, order) => {
        const { source, deltas } = written(writes, bytes)
        const early = cut(source, 90)
        for (const write of more)
          source.own.deposit(source.table.entry(source.table.namespace(0, 's'), `item${write % 9}`), 2)
        flush(source)
        const pool = [...deltas, ...early, ...cut(source, bytes)]
        const target = new Partition('p')
        // Any order, many times over: gaps are refused, the rest adds up to the source.
        for (let round = 0; round < 3 * pool.length; round++)
          target.merge(pool[order.next().value! % pool.length]!)
        for (let round = 0; round < pool.length; round++) for (const delta of pool) target.merge(delta)
        assert.deepEqual(checksums(target), checksums(source))
      },
    ),
  )
  t.pass('all orders end the same')
})

t.test('a gap is refused and nothing has changed', async (t) => {
  const { deltas } = written([1, 2, 3, 4, 5, 6, 7], 1)
  const target = new Partition('p')
  t.equal(target.merge(deltas[1]!), 'gap')
  t.equal(target.known(REPLICA), 0)
  t.equal(target.replica(REPLICA)?.cellCount, 0)
  t.equal(target.merge(deltas[0]!), 'applied')
  t.equal(target.merge(deltas[0]!), 'known')
  t.equal(target.merge(deltas[2]!), 'gap')
  t.equal(target.replica(REPLICA)?.cellCount, 1)
})

t.test('own writes from outside are refused, and flushes do not overlap', async (t) => {
  const { source, deltas } = written([1], 1)
  t.throws(() => source.merge(deltas[0]!), InvariantViolation)
  source.own.deposit(0, 1)
  const prepared = source.prepareFlush(10)!
  t.throws(() => source.prepareFlush(10), InvariantViolation)
  t.throws(() => source.writeAs('b@1'), InvariantViolation)
  source.completeFlush(prepared)
  t.throws(() => source.completeFlush(prepared), InvariantViolation)
  t.equal(source.prepareFlush(10), undefined)
})

t.test('a repair brings back what is missing, anywhere', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(3000), { minLength: 1, maxLength: 60 }), (missing) => {
      const source = new Partition('p')
      source.writeAs(REPLICA)
      const items = source.table.namespace(CellKind.counter, 's')
      for (let item = 0; item < 3000; item++) source.own.deposit(source.table.entry(items, `item${item}`), 1)
      flush(source, 1e6)
      const broken = new Partition('p')
      // A defect: cells that were never merged although the vector says so.
      const [whole] = cut(source, 1e9)
      broken.merge({ ...whole!, cells: whole!.cells.filter(({ number }) => !missing.includes(number)) })
      assert.equal(broken.known(REPLICA), 3000)
      const hurt = missing.some((number) => number > 0)
      assert.equal(broken.replica(REPLICA)!.checksum === source.ownReplica.checksum, !hurt)
      for (let from = 0; ; ) {
        const repair = source.deltaSince(REPLICA, from, 48 * 1024, true)
        if (!repair) break
        broken.merge(repair)
        from = repair.to
      }
      assert.equal(broken.replica(REPLICA)!.checksum, source.ownReplica.checksum)
      assert.deepEqual(cut(broken, 1000), cut(source, 1000))
    }),
    { numRuns: 15 },
  )
  t.pass('repaired')
})

t.test('same dot, different values: noticed, and all end with the same', async (t) => {
  const cell = (deposited: number): Cell => ({
    kind: 0,
    number: 1,
    namespace: 's',
    key: 'k',
    value: { deposited, withdrawn: 0, compensated: 0, granted: [] },
  })
  const delta = (deposited: number): Delta => ({
    partition: 'p',
    replica: REPLICA,
    from: 0,
    to: 1,
    horizon: 1,
    repair: true,
    cells: [cell(deposited)],
  })
  const [left, right] = [new Partition('p'), new Partition('p')]
  for (const deposited of [5, 6]) left.merge(delta(deposited))
  for (const deposited of [6, 5]) right.merge(delta(deposited))
  t.same(checksums(left), checksums(right))
  t.equal(left.table.total(0), right.table.total(0))
  t.equal(left.divergences, 1)
})

t.test('expired objects are forgotten, and nothing older comes back', async (t) => {
  const source = new Partition('p')
  source.writeAs(REPLICA)
  const entry = (key: string) => source.table.entry(source.table.namespace(CellKind.register, ''), key)
  source.own.setObject(entry('short'), [100, 'x'])
  source.own.setObject(entry('ever'), [0, 'x'])
  source.own.setObject(entry('shortened'), [0, 'old'])
  flush(source)
  const late = new Partition('p')
  const [before] = cut(source, 1e6)
  late.merge(before!)
  source.own.setObject(entry('shortened'), [100, 'new'])
  flush(source)
  const target = new Partition('p')
  for (const delta of cut(source, 1)) target.merge(delta)
  t.equal(source.removeExpired(99), 0)
  for (const partition of [source, target]) {
    t.equal(partition.removeExpired(100), 1, 'only what no one can still have an older value of')
    t.equal(partition.replica(REPLICA)?.cellCount, 2)
    t.equal(partition.removeExpired(1e15), 0)
  }
  // Who was away still learns that its value is no longer the one, from anyone.
  for (const delta of cut(target, 1e6)) late.merge({ ...delta, from: 0 })
  late.removeExpired(100)
  t.same(checksums(late), checksums(source))
  t.same(cut(late, 1e6)[0]?.cells, cut(source, 1e6)[0]?.cells)
  const keys = cut(source, 1e6).flatMap(({ cells }) => cells.map(({ key }) => key))
  t.same(keys, ['ever', 'shortened'])
  // The rows are used again, by another replica too.
  const other = new Partition('p')
  other.writeAs('b@1')
  other.own.setObject(other.table.entry(other.table.namespace(1, ''), 'fresh'), [0, 'y'])
  flush(other)
  for (const delta of cut(other, 1e6, 'b@1')) source.merge(delta)
  t.equal(cut(source, 1e6, 'b@1')[0]?.cells[0]?.key, 'fresh')
  t.equal(cut(source, 1e6)[0]?.cells.length, 2)
  // A delta from before that overlaps does not bring it back.
  const early = { ...before!, to: before!.to + 9, horizon: before!.to + 9 }
  t.equal(target.merge(early), 'applied')
  const { table } = target
  t.equal(table.findNamespace(1, '')?.entries.has('short'), false)
})

t.test('an expired value with a write under way stays until that is flushed', async (t) => {
  const source = new Partition('p')
  source.writeAs(REPLICA)
  const entry = source.table.entry(source.table.namespace(1, ''), 'k')
  source.own.setObject(entry, [10, 'x'])
  flush(source)
  source.own.setObject(entry, [10, 'y'])
  const prepared = source.prepareFlush(100)!
  t.equal(source.removeExpired(50), 0)
  source.completeFlush(prepared)
  t.equal(source.removeExpired(50), 1)
  t.equal(source.table.entryCount, 0)
})

t.test('the newest own value is read until the table has it', async (t) => {
  const source = new Partition('p')
  source.writeAs(REPLICA)
  const entry = source.table.entry(source.table.namespace(1, ''), 'k')
  source.own.setObject(entry, [0, 'x'])
  const prepared = source.prepareFlush(100)!
  t.same(source.own.pendingObject(entry), [0, 'x'])
  source.own.setObject(entry, [0, 'y'])
  source.completeFlush(prepared)
  t.same(source.own.pendingObject(entry), [0, 'y'])
  flush(source)
  t.equal(source.own.pendingObject(entry), undefined)
})

t.test('a counter written for ever does not make its log grow', async (t) => {
  const source = new Partition('p')
  source.writeAs(REPLICA)
  const entry = source.table.entry(source.table.namespace(0, 's'), 'k')
  for (let round = 0; round < 5000; round++) {
    source.own.deposit(entry, 1)
    flush(source)
  }
  const { segments } = source.ownReplica.log as unknown as { segments: readonly unknown[] }
  t.equal(segments.length <= 2, true)
})

t.test('listeners hear of every entry that changed and of no other', async (t) => {
  const { deltas } = written([1, 2, 3, 1, 2], 1e6)
  const heard: string[] = []
  const target: Partition = new Partition('p', (entry) => heard.push(target.table.keyOf(entry)))
  target.merge(deltas[0]!)
  t.same(heard.sort(), ['item1', 'item2', 'item3'])
  target.merge(deltas[0]!)
  t.equal(heard.length, 3)
})

t.test('large amounts go beyond 2^53 and come back to numbers', async (t) => {
  const { source } = written([], 1)
  const entry = source.table.entry(source.table.namespace(0, 's'), 'gold')
  const max = Number.MAX_SAFE_INTEGER
  source.own.deposit(entry, max)
  source.own.deposit(entry, 1)
  t.equal(source.table.total(entry), 2n ** 53n)
  t.equal(source.own.rights(entry), 2n ** 53n)
  flush(source)
  source.own.withdraw(entry, 2n ** 53n - 1n)
  flush(source)
  t.equal(source.table.total(entry), 1)
  t.equal(source.own.rights(entry), 1)
  const target = new Partition('p')
  for (const delta of cut(source, 1)) target.merge(delta)
  t.equal(target.table.total(0), 1)
  t.same(checksums(target), checksums(source))
})

t.test('batches', async (t) => {
  const source = new Partition('p')
  source.writeAs(REPLICA)
  const items = source.table.namespace(0, 's')
  const entry = (item: number) => source.table.entry(items, `item${item}`)

  t.test('stay whole at the end of a generation', async (t) => {
    for (let item = 0; item < MAX_GENERATION_CHANGES - 1; item++) source.own.deposit(entry(item), 1)
    source.own.batch([
      { entry: entry(90_000), withdrawn: 1 },
      { entry: entry(90_001), deposited: 1 },
    ])
    const first = source.prepareFlush(1e9)!
    t.equal(first.deltas[0]?.cells.length, MAX_GENERATION_CHANGES - 1)
    source.completeFlush(first)
    const second = source.prepareFlush(1)!
    t.equal(second.deltas.length, 1, 'one delta whatever the budget')
    t.equal(second.deltas[0]?.cells.length, 2)
    source.completeFlush(second)
  })

  t.test('that share entries become one, up to a bound', async (t) => {
    for (let item = 0; item < 400; item++) {
      source.own.batch([
        { entry: entry(90_000), deposited: 1 },
        { entry: entry(item), withdrawn: 1 },
      ])
    }
    const sizes: number[] = []
    for (;;) {
      const prepared = source.prepareFlush(1)
      if (!prepared) break
      t.equal(prepared.deltas.length, 1)
      sizes.push(prepared.deltas[0]!.cells.length)
      source.completeFlush(prepared)
    }
    t.same(sizes, [256, 146])
  })

  t.test('a part that was overwritten does not glue the rest together', async (t) => {
    for (let item = 0; item < 20; item++) {
      source.own.batch([
        { entry: entry(item), deposited: 1 },
        { entry: entry(90_000), deposited: 1 },
      ])
      flush(source)
    }
    const known = source.ownReplica.known
    const pieces = []
    for (let from = known - 40; from < known; ) {
      const delta = source.deltaSince(REPLICA, from, 1)!
      pieces.push(delta.cells.length)
      from = delta.to
    }
    t.same(pieces, [...new Array(19).fill(1), 2])
  })

  t.test('survive a restart before they had numbers', async (t) => {
    const again = new Partition('p')
    again.writeAs(REPLICA)
    const item = (name: string) => again.table.entry(again.table.namespace(0, 's'), name)
    again.own.deposit(item('other'), 1)
    again.own.batch([
      { entry: item('x'), deposited: 5 },
      { entry: item('y'), withdrawn: 5 },
    ])
    const { cells } = again.takeUnnumbered()!
    const restarted = new Partition('p')
    restarted.writeAs(REPLICA)
    restarted.readoptUnnumbered(cells)
    t.same(restarted.prepareFlush(1e6)?.deltas[0]?.batches, [[2, 3]])
  })

  t.test('refused whole', async (t) => {
    const before = source.table.total(entry(1))
    const many = Array.from({ length: MAX_BATCH_WRITES + 1 }, () => ({ entry: entry(1), deposited: 1 }))
    t.throws(() => source.own.batch(many), InvariantViolation)
    const greedy = [
      { entry: entry(1), deposited: 1 },
      { entry: entry(2), granted: ['b@1', 10n ** 30n] as const },
    ]
    t.throws(() => source.own.batch(greedy), InvariantViolation)
    const bulky = Array.from({ length: 3 }, (_, item) => ({
      entry: source.table.entry(source.table.namespace(1, ''), `k${item}`),
      object: [0, 'x'.repeat(20_000)] as const,
    }))
    t.throws(() => source.own.batch(bulky), InvariantViolation)
    t.equal(source.table.total(entry(1)), before)
    t.ok(source.own.isEmpty)
  })
})

t.test('grants', async (t) => {
  const source = new Partition('p')
  source.writeAs(REPLICA)
  const entry = source.table.entry(source.table.namespace(0, 's'), 'x')
  source.own.deposit(entry, 10)
  t.throws(() => source.own.grant(entry, REPLICA, 1), InvariantViolation, 'to itself mints nothing')
  t.throws(() => source.own.grant(entry, 'b@1', 11), InvariantViolation, 'no more than there is')
  t.throws(() => source.own.grant(entry, 'b@1', 0), InvariantViolation)
  source.own.grant(entry, 'b@1', 4)
  t.equal(source.own.rights(entry), 6, 'gone at once')
  flush(source)
  const target = new Partition('p')
  target.writeAs('b@1')
  const [delta] = cut(source, 1e6)
  t.equal(target.merge(delta!), 'applied')
  target.merge({ ...delta!, repair: true })
  t.equal(target.own.rights(0), 4, 'counted once')
  t.same(Object.fromEntries(target.rightsOf(0)), { 'a@1': 6, 'b@1': 4 })
  const forged: Cell = {
    ...delta!.cells[0]!,
    number: 2,
    value: {
      deposited: 10,
      withdrawn: 0,
      compensated: 0,
      granted: [
        ['a@1', 99],
        ['b@1', 4],
      ],
    },
  } as Cell
  target.merge({ ...delta!, from: 1, to: 2, horizon: 2, cells: [forged] })
  t.same(Object.fromEntries(target.rightsOf(0)), { 'a@1': 6, 'b@1': 4 }, 'a forged self-grant mints nothing')
})
