import assert from 'node:assert/strict'
import fc from 'fast-check'
import { type Cell, CellKind, type Delta, type ObjectValue } from '../../src/crdt/cell.js'
import { deltaFromTuple, deltaToTuple } from '../../src/crdt/delta-codec.js'
import type { OwnWrite } from '../../src/crdt/own-writes.js'
import { Partition } from '../../src/crdt/partition.js'
import { type Quantity, rightsByReplica } from '../../src/crdt/rights.js'
import { encodeMessage } from '../../src/wire/encode.js'
import { decodeTuple } from '../../src/wire/safe-cbor.js'

/**
 * Random histories of several servers, each a real partition beside a deliberately naive one (plain Maps), and
 * beside both the truth: every durable write of every replica.
 */
export const SERVERS = ['a', 'b', 'c', 'd']
const ITEMS = ['x', 'y', 'z']
/** Kind 1 is a register, 4 a provisional withdrawal, 40 a kind of some later version. */
const OBJECT_KINDS = [1, 4, 40]

const server = fc.nat(SERVERS.length - 1)
const amount = fc.oneof(
  fc.integer({ min: 1, max: 9 }),
  fc.constant(Number.MAX_SAFE_INTEGER),
  fc.bigInt({ min: 1n, max: 2n ** 80n }),
)
const write = fc.record({
  target: fc.nat(ITEMS.length + OBJECT_KINDS.length - 1),
  type: fc.constantFrom('deposited', 'withdrawn', 'compensated', 'granted'),
  amount,
  receiver: server,
  expiresMs: fc.constantFrom(0, 0, 10, 20, 30),
})
export const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('write'), server, writes: fc.tuple(write) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('write'),
      server,
      writes: fc.array(write, { minLength: 2, maxLength: 4 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('flush'),
      server,
      bytes: fc.integer({ min: 1, max: 300 }),
      dies: fc.constantFrom('', '', '', 'before', 'after'),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('pull'),
      server,
      from: server,
      replica: fc.nat(7),
      behind: fc.nat(3),
      bytes: fc.integer({ min: 1, max: 200 }),
      repair: fc.nat(7).map((one) => one === 0),
      late: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('deliver'), server, letter: fc.nat(), keep: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('unnumbered'), server }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('incarnation'), server }) },
)
export type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

interface DurableWrite {
  readonly number: number
  readonly cell: Cell
  readonly batchEnd: number
}

/** What one replica is known to have, cell by cell. */
class NaiveReplica {
  readonly cells = new Map<string, Cell>()
  known = 0
  horizon = 0
}

export class Server {
  partition = new Partition('p')
  naive = new Map<string, NaiveReplica>()
  /** What a restart finds, in order. */
  journal: Delta[] = []
  /** Own writes since the last flush, as the naive model keeps them: just the calls. */
  pending: { name: string; write: OwnWrite }[] = []
  replica: string
  starts = 1

  constructor(readonly name: string) {
    this.replica = `${name}@1`
    this.partition.writeAs(this.replica)
  }
}

export class History {
  readonly servers = SERVERS.map((name) => new Server(name))
  readonly truth = new Map<string, DurableWrite[]>()
  private readonly letters: Delta[] = []

  run(action: Step): void {
    const at = this.servers[action.server]!
    if ('writes' in action) this.write(at, action.writes)
    else if ('dies' in action) this.flush(at, action.bytes, action.dies)
    else if ('letter' in action) this.deliver(at, action.letter, action.keep)
    else if ('late' in action) this.pull(at, action)
    else if (action.do === 'unnumbered') unnumberedRestart(at)
    else this.newIncarnation(at)
    this.check(at)
  }

  private write(
    at: Server,
    writes: readonly {
      target: number
      type: string
      amount: Quantity
      receiver: number
      expiresMs: number
    }[],
  ): void {
    const { table, own } = at.partition
    const batch = writes.map(({ target, type, amount, receiver, expiresMs }) => {
      const kind = target < ITEMS.length ? CellKind.counter : OBJECT_KINDS[target - ITEMS.length]!
      const name = cellName(kind, ITEMS[target % ITEMS.length]!)
      const entry = table.entry(table.namespace(kind, 's'), ITEMS[target % ITEMS.length]!)
      if (kind !== CellKind.counter) {
        const object: ObjectValue = [expiresMs, String(amount), Uint8Array.of(receiver)]
        return { name, write: { entry, object } }
      }
      const other = this.servers[receiver]!.replica
      // A withdrawal may go beyond the rights (a debt); a grant never does.
      if (type === 'granted') {
        if (other === at.replica || own.rights(entry) < 1)
          return { name, write: { entry, deposited: amount } }
        return { name, write: { entry, granted: [other, 1] as const } }
      }
      return { name, write: { entry, [type]: amount } }
    })
    const single = batch[0]!.write as OwnWrite
    const grants = batch.filter(({ write }) => 'granted' in write).length
    if (batch.length > 1 && grants < 2) {
      try {
        own.batch(batch.map(({ write }) => write))
      } catch (error) {
        // A grant beyond what the rest of the batch leaves: then nothing has happened, as `check` sees.
        assert.equal((error as { invariant?: string }).invariant, 'W2')
        return
      }
      at.pending.push(...batch)
    } else {
      if (single.deposited) own.deposit(single.entry, single.deposited)
      if (single.withdrawn) own.withdraw(single.entry, single.withdrawn)
      if (single.compensated) own.compensate(single.entry, single.compensated)
      if (single.granted) own.grant(single.entry, ...single.granted)
      if (single.object) own.setObject(single.entry, single.object)
      at.pending.push(batch[0]!)
    }
  }

  private flush(at: Server, bytes: number, dies: string): void {
    const flush = at.partition.prepareFlush(bytes)
    if (flush === undefined) {
      assert.equal(at.pending.length, 0)
      return
    }
    const before = visible(at.partition, at.replica)
    if (dies === 'before') {
      at.pending = []
      restart(at)
      assert.deepEqual(visible(at.partition, at.replica), before)
      return
    }
    const pieces = flush.deltas.map(overTheWire)
    const durable = this.truth.get(at.replica) ?? []
    this.truth.set(at.replica, durable)
    const touched = new Set<string>()
    for (const delta of pieces) {
      assert.equal(delta.from, durable.at(-1)?.number ?? 0)
      assert.equal(delta.to, delta.cells.at(-1)!.number)
      for (const cell of delta.cells) {
        assert.equal(cell.number, (durable.at(-1)?.number ?? 0) + 1, 'numbers follow each other')
        const name = cellName(cell.kind, cell.key)
        assert.ok(!touched.has(name), 'a cell once per flush')
        touched.add(name)
        const span = delta.batches?.find(([first, last]) => first <= cell.number && cell.number <= last)
        durable.push({ number: cell.number, cell, batchEnd: span?.[1] ?? cell.number })
      }
    }
    assert.deepEqual(visible(at.partition, at.replica), before, 'nothing leaves before the journal has it')
    this.checkWritten(at, pieces)
    at.journal.push(...pieces)
    at.pending = []
    if (dies === 'after') restart(at)
    else at.partition.completeFlush(flush)
    const naive = naiveReplica(at, at.replica)
    for (const delta of pieces)
      for (const cell of delta.cells) naive.cells.set(cellName(cell.kind, cell.key), cell)
    naive.known = durable.at(-1)!.number
    naive.horizon = Math.max(naive.horizon, naive.known)
  }

  /** The flushed totals are the old ones plus what was called since. */
  private checkWritten(at: Server, pieces: readonly Delta[]): void {
    const before = at.naive.get(at.replica)?.cells
    const expected = new Map<string, Cell['value']>()
    for (const { name, write } of at.pending) {
      if (write.object) expected.set(name, write.object)
      else
        expected.set(
          name,
          plus((expected.get(name) ?? before?.get(name)?.value) as CounterLike | undefined, write),
        )
    }
    const written = new Map(
      pieces.flatMap(({ cells }) => cells.map((cell) => [cellName(cell.kind, cell.key), cell.value])),
    )
    assert.deepEqual(normal(written), normal(expected))
  }

  private pull(
    at: Server,
    {
      from,
      replica,
      behind,
      bytes,
      repair,
      late,
    }: { from: number; replica: number; behind: number; bytes: number; repair: boolean; late: boolean },
  ): void {
    const source = this.servers[from]!
    const state = source.partition.replicas()[replica % source.partition.replicas().length]!
    const since = repair ? 0 : Math.max(0, at.partition.known(state.replica) - behind)
    const start = this.boundary(state.replica, since)
    const delta = source.partition.deltaSince(state.replica, start, bytes, repair)
    if (!delta) return
    this.checkDelta(source, delta)
    const letter = overTheWire(delta)
    if (late) this.letters.push(letter)
    else this.merge(at, letter)
  }

  /** A receiver's vector never stands inside a batch. */
  private boundary(replica: string, number: number): number {
    const writes = this.truth.get(replica) ?? []
    let at = number
    while (at > 0 && writes[at - 1]!.batchEnd > at) at -= 1
    return at
  }

  private deliver(at: Server, letter: number, keep: boolean): void {
    if (this.letters.length === 0) return
    const place = letter % this.letters.length
    const delta = this.letters[place]!
    if (!keep) this.letters.splice(place, 1)
    this.merge(at, delta)
  }

  private merge(at: Server, delta: Delta): void {
    if (delta.replica === at.replica) return
    const naive = naiveReplica(at, delta.replica)
    const before = checksums(at.partition)
    const outcome = at.partition.merge(delta)
    const isGap = delta.from > naive.known
    const isKnown = !isGap && delta.to <= naive.known && !delta.repair
    assert.equal(outcome, isGap ? 'gap' : isKnown ? 'known' : 'applied')
    if (outcome !== 'applied') {
      assert.deepEqual(checksums(at.partition), before)
      return
    }
    for (const cell of delta.cells) {
      const name = cellName(cell.kind, cell.key)
      if ((naive.cells.get(name)?.number ?? 0) < cell.number) naive.cells.set(name, cell)
    }
    naive.known = Math.max(naive.known, delta.to)
    naive.horizon = Math.max(naive.horizon, delta.horizon, delta.to)
    at.journal.push(delta)
    const after = checksums(at.partition)
    assert.notEqual(at.partition.merge(delta), 'gap')
    assert.deepEqual(checksums(at.partition), after, 'merging twice is merging once')
  }

  private newIncarnation(at: Server): void {
    at.starts += 1
    at.replica = `${at.name}@${at.starts}`
    at.partition.writeAs(at.replica)
  }

  private checkDelta(source: Server, delta: Delta): void {
    const naive = source.naive.get(delta.replica)!
    const held = [...naive.cells.values()].filter(({ number }) => number > delta.from && number <= delta.to)
    held.sort((left, right) => left.number - right.number)
    assert.deepEqual(normal(delta.cells), normal(held))
    assert.ok(delta.to <= naive.known)
    assert.ok(delta.horizon >= naive.horizon)
    for (const { number, batchEnd } of this.truth.get(delta.replica) ?? []) {
      assert.ok(
        number > delta.to || batchEnd <= delta.to,
        `cut at ${delta.to} inside a batch up to ${batchEnd}`,
      )
    }
  }

  /** The partition says what the naive one says, and where it is settled, what is true. */
  check(at: Server): void {
    const { partition } = at
    for (const [replica, naive] of at.naive) {
      const state = partition.replica(replica) ?? { known: 0, horizon: 0, cellCount: 0 }
      assert.equal(state.known, naive.known)
      assert.equal(state.horizon, naive.horizon)
      assert.equal(state.cellCount, naive.cells.size)
      if (naive.known < naive.horizon) continue
      const truth = this.stateAt(replica, naive.known)
      assert.deepEqual(normal(naive.cells), normal(truth), `settled at ${naive.known}`)
    }
    for (const item of ITEMS) checkItem(at, item)
    assert.equal(partition.divergences, 0)
  }

  stateAt(replica: string, number: number): Map<string, Cell> {
    const cells = new Map<string, Cell>()
    for (const write of this.truth.get(replica) ?? []) {
      if (write.number <= number) cells.set(cellName(write.cell.kind, write.cell.key), write.cell)
    }
    return cells
  }

  /** Everything to everyone, in pieces. */
  heal(bytes: number): void {
    for (const at of this.servers) {
      while (at.partition.prepareFlush !== undefined && !at.partition.own.isEmpty) this.flush(at, bytes, '')
    }
    for (const at of this.servers) {
      for (const from of this.servers) {
        for (const { replica } of [...from.partition.replicas()]) {
          if (replica === at.replica) continue
          for (;;) {
            const delta = from.partition.deltaSince(replica, at.partition.known(replica), bytes)
            if (!delta) break
            this.checkDelta(from, delta)
            this.merge(at, overTheWire(delta))
          }
        }
        this.check(at)
      }
    }
  }
}

type CounterLike = {
  deposited: Quantity
  withdrawn: Quantity
  compensated: Quantity
  granted: readonly (readonly [string, Quantity])[]
}

function plus(before: CounterLike | undefined, write: OwnWrite): Cell['value'] {
  const sum = (name: 'deposited' | 'withdrawn' | 'compensated') => {
    const total = BigInt(before?.[name] ?? 0) + BigInt(write[name] ?? 0)
    return total <= Number.MAX_SAFE_INTEGER ? Number(total) : total
  }
  const granted = new Map(before?.granted ?? [])
  if (write.granted)
    granted.set(write.granted[0], Number(granted.get(write.granted[0]) ?? 0) + Number(write.granted[1]))
  return {
    deposited: sum('deposited'),
    withdrawn: sum('withdrawn'),
    compensated: sum('compensated'),
    granted: [...granted].sort(([left], [right]) => (left < right ? -1 : 1)),
  }
}

function checkItem(at: Server, item: string): void {
  const { table, own } = at.partition
  const name = cellName(CellKind.counter, item)
  const cells: { replica: string; value: CounterLike }[] = []
  for (const [replica, naive] of at.naive) {
    const cell = naive.cells.get(name)
    if (cell) cells.push({ replica, value: cell.value as CounterLike })
  }
  const durable = cells.find(({ replica }) => replica === at.replica)
  let ownValue: CounterLike | undefined = durable?.value
  for (const { name: pendingName, write } of at.pending) {
    if (pendingName === name) ownValue = plus(ownValue, write) as CounterLike
  }
  const entry = table.findNamespace(CellKind.counter, 's')?.entries.get(item)
  const others = cells.filter(({ replica }) => replica !== at.replica)
  const all = ownValue ? [...others, { replica: at.replica, value: ownValue }] : others
  if (entry === undefined) {
    assert.equal(all.length, 0)
    return
  }
  const total = all.reduce(
    (sum, { value }) => sum + BigInt(value.deposited) - BigInt(value.withdrawn) + BigInt(value.compensated),
    0n,
  )
  assert.equal(BigInt(table.total(entry)), total, 'the quantity is the sum over all cells')
  const rights = naiveRights(all)
  assert.equal(BigInt(own.rights(entry)), rights.get(at.replica) ?? 0n, 'own rights')
  assert.equal(
    [...rights.values()].reduce((sum, held) => sum + held, 0n),
    total,
    'rights sum up to the quantity',
  )
  for (const [replica, held] of rightsByReplica(all)) assert.equal(BigInt(held), rights.get(replica))
}

function naiveRights(cells: readonly { replica: string; value: CounterLike }[]): Map<string, bigint> {
  const rights = new Map<string, bigint>()
  const add = (replica: string, amount: bigint) => rights.set(replica, (rights.get(replica) ?? 0n) + amount)
  for (const { replica, value } of cells) {
    add(replica, BigInt(value.deposited) - (BigInt(value.withdrawn) - BigInt(value.compensated)))
    for (const [receiver, amount] of value.granted) {
      add(replica, -BigInt(amount))
      add(receiver, BigInt(amount))
    }
  }
  return rights
}

/** The process dies; what the journal holds comes back, and the same replica goes on. */
function restart(at: Server): void {
  at.partition = new Partition('p')
  for (const delta of at.journal) assert.notEqual(at.partition.merge(delta), 'gap')
  at.partition.writeAs(at.replica)
}

/** Own writes are journalled without numbers, the process dies, and takes them up again. */
function unnumberedRestart(at: Server): void {
  const runs: Cell[][] = []
  for (;;) {
    const taken = at.partition.takeUnnumbered()
    if (!taken) break
    runs.push(
      taken.cells
        .map(
          (cell) =>
            overTheWire({
              partition: 'p',
              replica: 'r',
              from: 0,
              to: 1,
              horizon: 1,
              repair: false,
              cells: [{ ...cell, number: 1 }],
            }).cells[0]!,
        )
        .map((cell, position) => ({ ...cell, number: taken.cells[position]!.number })),
    )
  }
  restart(at)
  for (const cells of runs) at.partition.readoptUnnumbered(cells)
}

function overTheWire(delta: Delta): Delta {
  return deltaFromTuple(decodeTuple(encodeMessage(deltaToTuple(delta))))
}

function naiveReplica(at: Server, replica: string): NaiveReplica {
  let naive = at.naive.get(replica)
  if (!naive) {
    naive = new NaiveReplica()
    at.naive.set(replica, naive)
  }
  return naive
}

function cellName(kind: number, key: string): string {
  return `${kind} ${key}`
}

/** What others could get of a replica. */
function visible(partition: Partition, replica: string): unknown {
  return normal(partition.deltaSince(replica, 0, Number.POSITIVE_INFINITY))
}

export function checksums(partition: Partition): unknown {
  return partition
    .replicas()
    .filter(({ known }) => known > 0)
    .map(({ replica, known, checksum }) => [replica, known, checksum])
    .sort()
}

function normal(value: unknown): unknown {
  if (value instanceof Map) return normal([...value].sort(([left], [right]) => (left < right ? -1 : 1)))
  if (value instanceof Uint8Array) return `bytes ${Array.from(value).join()}`
  if (typeof value === 'bigint') return `${value}n`
  if (Array.isArray(value)) return value.map(normal)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, normal(inner)]))
}
