import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { CellKind, isCounterCell } from '../../src/crdt/cell.js'
import { deltaFromTuple } from '../../src/crdt/delta-codec.js'
import { Partition } from '../../src/crdt/partition.js'
import { type FreshLevel, type LevelRead, LevelReads, MAX_ROUNDS } from '../../src/gossip/level-reads.js'
import { positionsFromTuple, positionsRequestFromTuple } from '../../src/gossip/position-messages.js'
import { decodeTuple } from '../../src/wire/safe-cbor.js'
import { Network, Server } from './network.js'

const RUNS = Number(process.env.HISTORIES ?? 300)

function read(server: Server, level: FreshLevel, ready: () => void): LevelRead {
  const asked: LevelRead = { partition: server.partition(), level, ready }
  server.reads.begin(asked)
  return asked
}

/** Per replica and item: what its journalled cells up to a number say was deposited; from the journals alone. */
function demanded(servers: readonly Server[], level: FreshLevel): Map<string, bigint> {
  const cells: { replica: string; item: string; number: number; deposited: bigint }[] = []
  const vectors = servers.map(({ records, durable }) => {
    const vector = new Map<string, number>()
    for (const record of records.slice(0, durable)) {
      const delta = deltaFromTuple(decodeTuple(record))
      vector.set(delta.replica, Math.max(delta.to, vector.get(delta.replica) ?? 0))
      for (const cell of delta.cells) {
        if (!isCounterCell(cell)) continue
        const { key: item, number, value } = cell
        cells.push({ replica: delta.replica, item, number, deposited: BigInt(value.deposited) })
      }
    }
    return vector
  })
  const majority = Math.floor(servers.length / 2) + 1
  const reached = (replica: string) => {
    const numbers = vectors.map((vector) => vector.get(replica) ?? 0).sort((left, right) => right - left)
    return numbers[level === 'STRONG' ? 0 : majority - 1]!
  }
  const deposited = new Map<string, bigint>()
  const totals = new Map<string, bigint>()
  for (const { replica, item, number, deposited: amount } of cells) {
    const key = `${replica} ${item}`
    if (number <= reached(replica) && amount > (deposited.get(key) ?? 0n)) deposited.set(key, amount)
  }
  for (const [key, amount] of deposited) {
    const [, item] = key.split(' ')
    totals.set(item!, (totals.get(item!) ?? 0n) + amount)
  }
  return totals
}

const who = fc.nat(3)
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('write' as const), who, item: fc.nat(3) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('sync' as const), who }) },
  {
    weight: 14,
    arbitrary: fc.record({
      do: fc.constant('deliver' as const),
      who,
      to: who,
      count: fc.integer({ min: 1, max: 6 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('read' as const),
      who,
      level: fc.constantFrom('QUORUM' as const, 'QUORUM' as const, 'STRONG' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cut' as const), who, to: who }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('connect' as const), who, to: who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const), who }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('turn' as const), who }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('exchange' as const), who, to: who }) },
)

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

interface Counts {
  reads: number
  answered: number
  /** Before everything was delivered at the end. */
  early: number
  stale: number
}

function history(steps: readonly Step[], reads: typeof LevelReads, counts: Counts): void {
  const servers = ['a', 'b', 'c', 'd'].map((name) => new Server(name, [''], 1, reads))
  const network = new Network(...servers)
  network.connectAll()
  network.settle()
  let ending = false
  for (const each of steps) {
    const server = servers[each.who]!
    const to = servers['to' in each ? each.to : 0]!
    if (each.do === 'write') server.deposit(`item${each.item}`)
    else if (each.do === 'sync') {
      server.flush(200)
      server.sync()
    } else if (each.do === 'deliver')
      for (let count = 0; count < each.count; count++) network.deliver(server, to)
    else if (each.do === 'turn') server.turn()
    else if (each.do === 'exchange') {
      // Two that are near each other: everything between them, there and back.
      for (let round = 0; round < 4; round++) {
        for (const [from, towards] of [
          [server, to],
          [to, server],
        ] as const) {
          from.turn()
          while (network.deliver(from, towards));
        }
      }
    } else if (each.do === 'cut') network.cut(server, to)
    else if (each.do === 'connect') network.connect(server, to)
    else if (each.do === 'crash') network.crash(server)
    else {
      const expected = demanded(servers, each.level)
      counts.reads += 1
      const epoch = server.partition()
      read(server, each.level, () => {
        if (server.partition() !== epoch) return
        counts.answered += 1
        if (!ending) counts.early += 1
        for (const [item, least] of expected) if (server.quantity(item) < least) counts.stale += 1
      })
    }
  }
  ending = true
  network.connectAll()
  for (const server of servers) {
    server.flush()
    server.sync()
  }
  network.settle()
  for (const server of servers) server.replicator.exchangeDigests()
  for (const server of servers) server.sync()
  network.settle()
}

function explore(reads: typeof LevelReads): Counts {
  const counts = { reads: 0, answered: 0, early: 0, stale: 0 }
  fc.assert(
    fc.property(fc.array(step, { minLength: 40, maxLength: 200 }), (steps) => history(steps, reads, counts)),
    { numRuns: RUNS, seed: 4711 },
  )
  return counts
}

t.test('a read at a level sees every write that had reached it before, whatever fails', async (t) => {
  const counts = explore(LevelReads)
  t.comment(counts)
  t.equal(counts.stale, 0)
  t.ok(counts.early > RUNS / 2, `${counts.early} of ${counts.reads} answered`)
})

t.test('the check bites: reads that do not ask, and answers from before the call, are caught', async (t) => {
  class AsksNobody extends LevelReads {
    override begin(asked: LevelRead): void {
      asked.ready()
    }
  }
  t.ok(explore(AsksNobody).stale > 0)
  class BelievesOldAnswers extends LevelReads {
    private readonly before = new Map<string, Parameters<LevelReads['onPositions']>>()
    override onPositions(...answer: Parameters<LevelReads['onPositions']>): void {
      this.before.set(answer[0].server, answer)
      super.onPositions(...answer)
    }
    override begin(asked: LevelRead): void {
      super.begin(asked)
      if (this.before.size >= 2) {
        this.cancel(asked)
        asked.ready()
      }
    }
  }
  t.ok(explore(BelievesOldAnswers).stale > 0)
})

t.test('reads in one turn share a round, each server has one request under way', async (t) => {
  const network = Network.of('abc')
  network.connectAll()
  network.settle()
  network.told()
  const a = network.get('a')
  network.get('b').write('x', 3)
  let done = 0
  for (let count = 0; count < 1_000; count++) read(a, 'QUORUM', () => (done += Number(a.quantity('x')) / 3))
  network.settle()
  t.equal(done, 1_000)
  t.equal(network.told('positions-request').length, 2)
  read(a, 'QUORUM', () => (done += 1))
  a.turn()
  for (let count = 0; count < 5; count++) {
    read(a, 'QUORUM', () => (done += 1))
    a.turn()
  }
  network.settle()
  t.equal(done, 1_006)
  t.equal(network.told('positions-request').length, 4, 'later reads went with the next request')
})

t.test('a bounded number of rounds waits; the others gather behind them', async (t) => {
  const network = Network.of('abc')
  network.connect(network.get('a'), network.get('b'))
  network.settle()
  network.told()
  const a = network.get('a')
  let done = 0
  const asked: LevelRead[] = []
  // c does not answer, so STRONG waits; QUORUM goes on.
  for (let count = 0; count < 3 * MAX_ROUNDS; count++) {
    asked.push(read(a, 'STRONG', () => (done += 1)))
    read(a, 'QUORUM', () => (done += 1000))
    network.settle()
  }
  t.equal(done, 3 * MAX_ROUNDS * 1_000)
  t.same(a.reads.standing(asked[0]!), { answered: 2, needed: 3 })
  for (const each of asked.slice(0, MAX_ROUNDS)) a.reads.cancel(each)
  network.connect(a, network.get('c'))
  network.settle()
  t.equal(done % 1_000, 2 * MAX_ROUNDS, 'all but those that nobody waits for')
})

t.test('to have reached a number is not enough while overwritten cells may be missing (D3)', async (t) => {
  const network = Network.of('ab')
  const [a, b] = network.servers as [Server, Server]
  const writer = new Partition('')
  writer.writeAs('w@1')
  const { table } = writer
  const entry = table.entry(table.namespace(CellKind.counter, 'vault'), 'x')
  const other = table.entry(table.namespace(CellKind.counter, 'vault'), 'y')
  const write = (what: number, amount: number) => {
    writer.own.deposit(what, amount)
    writer.completeFlush(writer.prepareFlush(1_000)!)
  }
  write(entry, 1)
  write(other, 1)
  write(entry, 1)
  // As a sender cuts it that has all three: the first write is not there any more.
  const whole = writer.deltaSince('w@1', 0, 1_000_000)!
  const first = { ...whole, to: 2, cells: whole.cells.filter(({ number }) => number <= 2) }
  a.partition().merge(first)
  b.partition().merge(first)
  b.replicator.acknowledgements.raise('b', '', 'w@1', 2)
  a.replicator.acknowledgements.raise('a', '', 'w@1', 2)
  network.connectAll()
  const seen: bigint[] = []
  read(a, 'QUORUM', () => seen.push(a.quantity('x')))
  for (const server of network.servers) server.turn()
  network.deliver(a, b)
  for (let count = 0; count < 10; count++) {
    for (const server of network.servers) server.turn()
    network.deliver(a, b)
    network.deliver(b, a)
  }
  t.same(seen, [], 'write 1 is known, but its value has not come')
  a.partition().merge({ ...whole, from: 2, cells: whole.cells.filter(({ number }) => number > 2) })
  a.reads.check()
  t.same(seen, [2n])
})

t.test('messages are checked', async (t) => {
  t.throws(() => positionsRequestFromTuple([21, -1, []]))
  t.throws(() => positionsRequestFromTuple([21, 1, [7]]))
  t.throws(() => positionsFromTuple([22, 1]))
  t.same(positionsFromTuple([22, 5, [['', [[`a@${'0'.repeat(32)}`, 3, 0]]]], true]).more, true)
  const network = Network.of('ab')
  network.connectAll()
  network.settle()
  const [a, b] = network.servers as [Server, Server]
  a.reads.onPositions(a.peer(b), { number: 77, partitions: [], more: false })
  let done = 0
  read(a, 'STRONG', () => (done += 1))
  a.turn()
  a.reads.onPositions(a.peer(b), { number: 2, partitions: [], more: false })
  a.reads.onPositions(a.peer(b), { number: 1, partitions: [], more: false })
  assert.equal(done, 0, 'an answer that nobody asked for, or without the partition, counts for nothing')
})
