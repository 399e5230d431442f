import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { Network, Server } from './network.js'

/** `HISTORIES=5000` for a long run. */
const RUNS = Number(process.env.HISTORIES ?? 150)
const WORLD = 'world:w'

const who = fc.nat(3)
const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('write' as const), who, item: fc.nat(4), world: fc.boolean() }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('sync' as const), who }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('deliver' as const),
      who,
      to: who,
      count: fc.integer({ min: 1, max: 8 }),
      bulkFirst: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cut' as const), who, to: who }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('connect' as const), who, to: who }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('tick' as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('checksums' as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('full' as const), who, full: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const), who }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('turn' as const), who }) },
)

type Action = typeof action extends fc.Arbitrary<infer T> ? T : never

/** What the writers' journals hold, counted from the histories alone. */
class Ledger {
  private readonly waiting = new Map<Server, string[]>()
  private readonly flushed = new Map<Server, string[]>()
  readonly totals = new Map<string, bigint>()

  deposited(server: Server, item: string): void {
    this.waiting.set(server, [...(this.waiting.get(server) ?? []), item])
  }

  flushing(server: Server): void {
    if (this.flushed.has(server)) return
    const items = this.waiting.get(server)
    if (items) this.flushed.set(server, items)
    this.waiting.delete(server)
  }

  synced(server: Server): void {
    for (const item of this.flushed.get(server) ?? []) {
      this.totals.set(item, (this.totals.get(item) ?? 0n) + 1n)
    }
    this.flushed.delete(server)
  }

  crashed(server: Server): void {
    this.waiting.delete(server)
    this.flushed.delete(server)
  }
}

function run(network: Network, ledger: Ledger, step: Action): void {
  const { servers } = network
  const server = servers[step.who]!
  switch (step.do) {
    case 'write': {
      const partition = step.world && server.hosted.includes(WORLD) ? WORLD : ''
      server.deposit(`item${step.item}`, 1, partition)
      ledger.deposited(server, `${partition}/item${step.item}`)
      return
    }
    case 'sync':
      sync(server, ledger)
      return
    case 'deliver':
      for (let count = 0; count < step.count; count++)
        network.deliver(server, servers[step.to]!, step.bulkFirst)
      return
    case 'cut':
      network.cut(server, servers[step.to]!)
      return
    case 'connect':
      network.connect(server, servers[step.to]!)
      return
    case 'tick':
      server.replicator.exchangeDigests()
      return
    case 'checksums':
      server.replicator.exchangeChecksums()
      return
    case 'full':
      server.full = step.full
      return
    case 'crash':
      network.crash(server)
      ledger.crashed(server)
      return
    case 'turn':
      server.turn()
  }
}

/** Everything deposited so far becomes one flush per partition and is durable. */
function sync(server: Server, ledger: Ledger): void {
  ledger.flushing(server)
  server.flush()
  server.sync()
  ledger.synced(server)
}

t.test(
  'random histories: nothing counts twice, nothing durable is lost, all converge and fall silent',
  async (t) => {
    fc.assert(
      fc.property(
        fc.array(action, { maxLength: 120, size: 'max' }),
        fc.integer({ min: 1, max: 5 }),
        (steps, capacity) => {
          const network = new Network(
            new Server('a', ['', WORLD]),
            new Server('b', ['', WORLD]),
            new Server('c', ['']),
            new Server('d', ['', WORLD]),
          )
          network.capacity = capacity
          const ledger = new Ledger()
          for (const step of steps) {
            run(network, ledger, step)
            for (const server of network.servers) server.checkBounds()
          }
          heal(network, ledger)
          checkEnd(network, ledger)
        },
      ),
      { numRuns: RUNS },
    )
    t.pass(`${RUNS} histories`)
  },
)

function heal(network: Network, ledger: Ledger): void {
  for (const server of network.servers) {
    server.full = false
    sync(server, ledger)
  }
  network.connectAll()
  // Every server speaks with every other within a few draws.
  for (let round = 0; round < 12; round++) {
    for (const server of network.servers) server.replicator.exchangeDigests()
    network.settle(20_000)
    for (const server of network.servers) server.sync()
  }
  network.settle(20_000)
}

function checkEnd(network: Network, ledger: Ledger): void {
  const { servers } = network
  for (const partition of ['', WORLD]) {
    const hosts = servers.filter(({ hosted }) => hosted.includes(partition))
    for (const host of hosts) {
      assert.equal(host.state(partition), hosts[0]!.state(partition))
      for (let item = 0; item < 5; item++) {
        const expected = ledger.totals.get(`${partition}/item${item}`) ?? 0n
        assert.equal(
          host.quantity(`item${item}`, partition),
          expected,
          `${host.name} ${partition} item${item}`,
        )
      }
      const { replica, known } = host.partition(partition).ownReplica
      for (const holder of hosts) {
        if (holder === host) continue
        const held = host.replicator.acknowledgements.get(holder.name, partition, replica)
        assert.equal(held, known, `${host.name} knows what ${holder.name} holds`)
      }
    }
  }
  for (const server of servers) {
    assert.deepEqual(server.lost, [], 'no own writes were lost')
    assert.deepEqual(server.mismatches, [])
    assert.equal(server.partition().divergences, 0)
  }
  network.told()
  for (const server of servers) server.replicator.exchangeDigests()
  network.settle()
  assert.deepEqual(network.told('delta'), [], 'silence once all have everything')
}

t.test('without cuts and losses every write reaches every server exactly once', async (t) => {
  const writes = fc.array(fc.tuple(fc.nat(3), fc.nat(4)), { minLength: 1, maxLength: 40 })
  fc.assert(
    fc.property(writes, fc.infiniteStream(fc.tuple(who, who, fc.boolean())), (list, order) => {
      const network = Network.of('abcd')
      network.connectAll()
      network.settle()
      for (const [server, item] of list) {
        network.servers[server]!.write(`item${item}`)
        const [from, to, bulkFirst] = order.next().value!
        network.deliver(network.servers[from]!, network.servers[to]!, bulkFirst)
      }
      network.settle()
      assert.equal(network.redundant, 0)
      assert.ok(network.deltas <= list.length * 3)
      for (const server of network.servers) assert.equal(server.state(), network.servers[0]!.state())
    }),
    { numRuns: RUNS },
  )
  t.pass()
})
