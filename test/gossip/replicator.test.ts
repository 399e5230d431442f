import assert from 'node:assert/strict'
import t from 'tap'
import { DELTA_BYTES } from '../../src/crdt/limits.js'
import { FIRST_DELTA_BYTES } from '../../src/gossip/peer.js'
import { MAX_RECENT_BYTES } from '../../src/gossip/recent-deltas.js'
import { FrameError } from '../../src/sync/errors.js'
import { encodeMessage } from '../../src/wire/encode.js'
import { MessageType } from '../../src/wire/message-type.js'
import type { WireTuple } from '../../src/wire/wire-value.js'
import { Network, Server } from './network.js'

/** Linked with each other, first digests exchanged, the trace empty. */
function linked(names: string, pairs?: string): Network {
  const network = Network.of(names)
  if (pairs === undefined) network.connectAll()
  else for (const pair of pairs.split(' ')) network.connect(network.get(pair[0]!), network.get(pair[1]!))
  network.settle()
  network.told()
  return network
}

/** Servers that are not linked; the first one holds twenty thousand counters that the other has not got. */
function withBacklog(): Network {
  const network = Network.of('ab')
  const [a] = network.servers
  for (let item = 0; item < 20_000; item++) a!.deposit(`a rather long item name ${item}`)
  a!.flush(40_000)
  a!.sync()
  return network
}

function equal(network: Network): boolean {
  return network.servers.every((server) => server.state() === network.servers[0]!.state())
}

t.test(
  'a durable write reaches linked peers at once, is acknowledged, and nobody sends it back',
  async (t) => {
    const network = linked('ab')
    const [a] = network.servers
    a!.deposit('stone', 5)
    a!.flush()
    network.settle()
    t.same(network.told(), [], 'not durable yet: nothing leaves')
    a!.sync()
    const [b] = [network.get('b')]
    network.settle()
    t.same(network.told(), ['a>b delta a@1 (0,1] 1'])
    t.equal(b.quantity('stone'), 5n)
    b.sync()
    network.settle()
    t.same(network.told(), ['b>a ack by b: a@1:1'], 'acknowledged when the journal of b has it')
    t.equal(a!.replicator.acknowledgements.get('b', '', 'a@1'), 1)
  },
)

t.test('only what is durable is acknowledged', async (t) => {
  const network = linked('ab')
  const [a, b] = network.servers
  a!.write('stone')
  a!.write('dirt')
  network.settle()
  network.told()
  b!.replicator.durable(1)
  network.settle()
  t.same(network.told(), ['b>a ack by b: a@1:1'])
  b!.replicator.durable(2)
  network.settle()
  t.same(network.told(), ['b>a ack by b: a@1:2'])
})

t.test('everybody linked: a write crosses each link of its writer once, and no other', async (t) => {
  const network = linked('abcd')
  for (const server of network.servers) for (let write = 0; write < 5; write++) server.write(`item${write}`)
  network.settle()
  t.ok(equal(network))
  t.equal(network.redundant, 0)
  t.notOk(
    network.told('delta').some((line) => line[0] !== line.split(' ')[2]![0]),
    'nobody forwarded',
  )
})

t.test('a cut pair: the others forward what is news there, and nothing else', async (t) => {
  const network = linked('abcd')
  const [a, b] = network.servers
  network.cut(a!, b!)
  network.settle()
  network.told()
  a!.write('stone')
  network.settle()
  t.same(network.told('delta').sort(), [
    'a>c delta a@1 (0,1] 1',
    'a>d delta a@1 (0,1] 1',
    'c>b delta a@1 (0,1] 1',
    'd>b delta a@1 (0,1] 1',
  ])
  t.ok(equal(network))
})

t.test('what was under way when a pair was cut is asked for by those who hear of the cut', async (t) => {
  const network = linked('abc')
  const [a, b, c] = network.servers
  a!.write('stone')
  // c has it, and still believes that b gets it from a.
  while (network.deliver(a!, c!));
  network.cut(a!, b!)
  network.told()
  network.settle()
  t.equal(b!.quantity('stone'), 1n)
  t.same(network.told('delta'), ['c>b delta a@1 (0,1] 1'])
})

t.test('one round of anti-entropy with a peer mends whatever differs, both ways', async (t) => {
  const network = linked('ab')
  const [a, b] = network.servers
  a!.write('stone')
  b!.write('dirt')
  network.settle()
  // A defect that no link has: both believe that the other has everything.
  a!.peer(b!).setPosition('', 'a@1', 3)
  b!.peer(a!).setPosition('', 'b@1', 3)
  a!.write('stone')
  b!.write('dirt')
  a!.write('stone')
  b!.write('dirt')
  network.settle()
  t.notOk(equal(network))
  network.told()
  a!.replicator.exchangeDigests()
  network.settle()
  t.ok(equal(network))
  t.same(network.told('digest', 'delta'), [
    'a>b digest a@1:3 b@1:1 reply',
    'b>a digest a@1:1 b@1:3',
    'b>a delta b@1 (1,2] 1',
    'b>a delta b@1 (2,3] 1',
    'a>b delta a@1 (1,2] 1',
    'a>b delta a@1 (2,3] 1',
  ])
})

t.test('a gap is told once, however much is under way and whatever comes in between', async (t) => {
  const network = linked('abc', 'ab ac')
  const [a, b, c] = network.servers
  a!.peer(b!).setPosition('', 'a@1', 1)
  a!.write('lost')
  for (let write = 0; write < 20; write++) {
    a!.write(`item${write}`)
    c!.write(`other${write}`)
    // a forwards what c writes between its own deltas; those fit.
    while (network.deliver(c!, a!));
  }
  network.told()
  network.settle()
  const told = network.told()
  t.equal(told.filter((line) => line.startsWith('b>a digest')).length, 1)
  t.same(
    told.filter((line) => line.startsWith('b>a digest')).map((line) => line.slice(0, 3)),
    ['b>a'],
  )
  t.ok(equal(network), 'mended')
  const resent = told.filter((line) => /^a>b delta a@1 \(0,/.test(line))
  t.equal(resent.length, 1, 'resent once, as state')
  a!.peer(b!).setPosition('', 'a@1', 22)
  a!.write('lost')
  a!.write('after')
  network.settle()
  t.equal(network.told().filter((line) => line.startsWith('b>a digest')).length, 1, 'so is the next one')
  t.ok(equal(network))
})

t.test('a journal that takes no more loses nothing and is not flooded', async (t) => {
  const network = linked('ab')
  const [a, b] = network.servers
  b!.full = true
  for (let write = 0; write < 100; write++) {
    a!.write(`item${write}`)
    if (write % 10 === 0) {
      a!.replicator.exchangeDigests()
      b!.replicator.exchangeDigests()
    }
    network.settle()
  }
  t.equal(b!.partition().known('a@1'), 0, 'nothing was half taken')
  t.equal(b!.records.length, 0)
  const before = network.deltas
  t.ok(before <= 100, `${before} deltas for 100 writes`)
  t.notOk(
    network.told('digest').some((line) => line.includes('after-gap')),
    'b asks for nothing it cannot take',
  )
  b!.full = false
  b!.replicator.exchangeDigests()
  network.settle()
  t.ok(equal(network), 'one round after the journal takes writes again')
  t.ok(network.deltas - before <= 20)
})

t.test('a large backlog against a full journal does not resend in a loop', async (t) => {
  const network = withBacklog()
  const [a, b] = network.servers
  b!.full = true
  network.connectAll()
  network.settle(500)
  const first = network.deltas
  t.ok(first > 2, 'several deltas')
  for (let round = 0; round < 10; round++) {
    b!.replicator.exchangeDigests()
    a!.replicator.exchangeDigests()
    network.settle(500)
  }
  t.ok(network.deltas <= 11 * first, 'at most once a round')
  b!.full = false
  b!.replicator.exchangeDigests()
  network.settle(500)
  t.ok(equal(network))
})

t.test('a backlog begins with small deltas and goes on with larger ones, per link', async (t) => {
  const network = withBacklog()
  const [a, b] = network.servers
  for (const way of ['at first', 'after the link was lost']) {
    network.connect(a!, b!)
    while (network.direction(b!, a!).control.length > 0) network.deliver(b!, a!)
    const sizes: number[] = []
    while (sizes.length < 20) {
      sizes.push(...network.direction(a!, b!).bulk.map(({ length }) => length))
      network.direction(a!, b!).bulk.length = 0
      a!.turn()
    }
    t.ok(sizes[0]! < 2 * FIRST_DELTA_BYTES, way)
    t.ok(
      sizes.every((size, position) => position === 0 || size < 1.5 * sizes[position - 1]!),
      'no jump',
    )
    t.ok(sizes.at(-1)! > DELTA_BYTES / 2, 'in the end they are full')
    network.cut(a!, b!)
  }
})

t.test('a slow peer costs no queue, and gets state instead of operations when it drains', async (t) => {
  const network = Network.of('abc')
  network.capacity = 2
  network.connectAll()
  network.settle()
  const [a, b] = network.servers
  for (let write = 0; write < 1000; write++) {
    a!.write(`item${write % 5}`)
    a!.turn()
    a!.checkBounds()
    while (network.deliver(a!, network.get('c'))) a!.turn()
  }
  t.equal(network.direction(a!, b!).bulk.length, 2, 'no more than the link takes')
  t.equal(a!.peer(b!).behind.size, 1)
  network.told()
  network.settle()
  t.ok(equal(network))
  const toB = network.told('delta').filter((line) => line.startsWith('a>b'))
  t.same(
    toB.map((line) => line.slice(4)),
    ['delta a@1 (0,1] 1', 'delta a@1 (1,2] 1', 'delta a@1 (2,1000] 5'],
  )
  t.equal(network.redundant, 0)
})

t.test('what did not fit goes as soon as the link drains, without a digest', async (t) => {
  const network = Network.of('ab')
  network.capacity = 1
  network.connectAll()
  network.settle()
  const [a, b] = network.servers
  a!.write('stone')
  a!.write('dirt')
  t.equal(network.direction(a!, b!).bulk.length, 1)
  network.told()
  network.settle()
  t.ok(equal(network))
  t.same(network.told('digest'), [])
})

t.test('full transfers that wait for one peer are bounded', async (t) => {
  const network = Network.of('ab')
  const [a, b] = network.servers
  for (let number = 0; number < 200; number++) {
    const replica = `x${number}@1`
    const interval = { from: 0, to: 1, horizon: 1, repair: false, cells: [] }
    a!.partition().merge({ partition: '', replica, ...interval })
  }
  network.connectAll()
  network.settle()
  a!.peer(b!).blocked = true
  for (let number = 0; number < 200; number++)
    a!.replicator.onRepairRequest(a!.peer(b!), { partition: '', replica: `x${number % 150}@1` })
  t.equal(a!.peer(b!).repairs.length, 64)
  network.told()
  a!.replicator.drained(a!.peer(b!))
  network.settle()
  t.equal(network.told('delta').length, 64)
})

t.test('recent deltas are bounded in bytes over all replicas', async (t) => {
  const network = linked('ab')
  const [a, b] = network.servers
  for (let write = 0; write < 40; write++) {
    for (let item = 0; item < 6000; item++) a!.deposit(`a rather long item name ${item}`)
    a!.flush(240_000)
    a!.sync()
    network.settle()
  }
  b!.checkBounds()
  const { recent } = a!.replicator as unknown as { recent: { keptBytes: number } }
  t.ok(recent.keptBytes > MAX_RECENT_BYTES / 2 && recent.keptBytes <= MAX_RECENT_BYTES)
  const received = (b!.replicator as unknown as { recent: { keptBytes: number } }).recent
  t.equal(received.keptBytes, 0, 'b has nobody to send them on to')
})

t.test('deltas under way are not sent again because of a digest', async (t) => {
  const network = linked('ab')
  const [a, b] = network.servers
  for (let write = 0; write < 10; write++) a!.write(`item${write}`)
  // The digest overtakes all of them.
  b!.replicator.exchangeDigests()
  while (network.direction(b!, a!).control.length > 0) network.deliver(b!, a!)
  network.settle()
  t.ok(equal(network))
  t.equal(network.deltas, 10)
})

t.test('unequal state under equal vectors is found, reported and mended on both sides', async (t) => {
  const network = linked('abc')
  const [a, b, c] = network.servers
  for (const server of network.servers) for (let write = 0; write < 9; write++) server.write(`item${write}`)
  network.settle()
  corrupt(a!, 'c@1', 3)
  corrupt(b!, 'c@1', 5)
  t.notOk(equal(network))
  for (let round = 0; round < 6; round++) {
    for (const server of network.servers) server.replicator.exchangeChecksums()
    network.settle()
  }
  t.ok(a!.mismatches.length + b!.mismatches.length + c!.mismatches.length > 0)
  t.ok(equal(network), 'mended everywhere')
  for (const server of network.servers) server.mismatches = []
  for (const server of network.servers) server.replicator.exchangeChecksums()
  network.told()
  network.settle()
  t.same(network.told('delta'), [], 'and quiet again')
  t.same(
    network.servers.flatMap(({ mismatches }) => mismatches),
    [],
  )
})

t.test('one comparison mends both sides, when the writer is away too', async (t) => {
  const network = linked('abc')
  const [a, b, c] = network.servers
  for (let write = 0; write < 9; write++) c!.write(`item${write}`)
  network.settle()
  const whole = a!.state()
  network.cut(a!, c!)
  network.cut(b!, c!)
  corrupt(a!, 'c@1', 3)
  corrupt(b!, 'c@1', 5)
  a!.replicator.exchangeChecksums()
  network.settle()
  t.same([a!.state(), b!.state()], [whole, whole])
  t.same([a!.mismatches, b!.mismatches], [[], ['a "" c@1']])
})

/** What a defect might do: a cell of `replica` is gone although the vector covers it. */
function corrupt(server: Server, replica: string, number: number): void {
  const state = server.partition().replica(replica)!
  const { table } = server.partition()
  state.log.forEachAfter(0, (at, row) => {
    if (at !== number) return true
    state.checksum = (state.checksum - table.hashOf(row)) | 0
    const value = table.counterValue(row)
    table.mergeCounter(row, at, { ...value, deposited: 0 })
    state.checksum = (state.checksum + table.hashOf(row)) | 0
    return false
  })
}

t.test('acknowledgements reach the writer by way of others, over any number of servers', async (t) => {
  const network = linked('abcd', 'ab bc cd')
  const [a] = network.servers
  a!.write('stone')
  for (let hop = 0; hop < 4; hop++) {
    network.settle()
    for (const server of network.servers) server.sync()
  }
  network.settle()
  t.same(
    ['b', 'c', 'd'].map((server) => a!.replicator.acknowledgements.get(server, '', 'a@1')),
    [1, 1, 1],
  )
})

t.test('acknowledgements that find no way do not go round for ever', async (t) => {
  const network = linked('abcde')
  const [a, ...others] = network.servers
  a!.write('stone')
  network.settle()
  for (const other of others) network.cut(a!, other)
  network.settle()
  for (const other of others) other.sync()
  // Each of four holders tells three, and each of these, if it is the first news, the other two.
  t.ok(network.settle(500) <= 4 * (3 + 3 * 2))
})

t.test('an acknowledgement that found the way closed comes when it opens', async (t) => {
  const network = linked('abc', 'ab bc')
  const [a, b, c] = network.servers
  a!.write('stone')
  network.settle()
  b!.sync()
  network.settle()
  network.cut(a!, b!)
  c!.sync()
  network.settle()
  t.equal(a!.replicator.acknowledgements.get('c', '', 'a@1'), 0)
  network.connect(a!, b!)
  network.settle()
  t.equal(a!.replicator.acknowledgements.get('c', '', 'a@1'), 1, 'c was heard while a was away')
})

t.test('after a restart a server still acknowledges what it holds, and is acknowledged', async (t) => {
  const network = linked('ab')
  const [a, b] = network.servers
  a!.write('stone')
  network.settle()
  b!.durable = b!.records.length
  network.crash(b!)
  network.connectAll()
  network.settle()
  t.equal(a!.replicator.acknowledgements.get('b', '', 'a@1'), 1, 'durable before the crash, told after it')
  network.crash(a!)
  network.connectAll()
  network.settle()
  t.equal(a!.replicator.acknowledgements.get('b', '', 'a@1'), 1, 'the writer had forgotten')
})

t.test(
  'own writes that a peer knows and this server lost are reported, whichever message tells',
  async (t) => {
    const lostIn = (tell: (network: Network, a: Server, b: Server) => void) => {
      const network = linked('abc')
      const [a, b] = network.servers
      for (let write = 0; write < 5; write++) a!.write(`item${write}`)
      network.settle()
      for (const server of network.servers) server.sync()
      network.crash(a!, 2)
      tell(network, a!, b!)
      return a!.lost
    }
    t.same(
      lostIn((network, a, b) => {
        network.connect(a, b)
        network.settle()
      })[0],
      { replica: 'a@1', number: 5 },
    )
    const message = {
      server: 'b',
      partitions: [{ partition: '', rows: [{ replica: 'a@1', first: 5, second: 0 }] }],
    }
    t.same(
      lostIn((network, a, b) => {
        network.connect(a, b)
        a.replicator.onAcknowledge(a.peer(b), message)
        assert.equal(
          a.replicator.acknowledgements.get('b', '', 'a@1'),
          0,
          'new writes must not count as held there',
        )
      })[0],
      { replica: 'a@1', number: 5 },
      'by an acknowledgement',
    )
    const delta: WireTuple = [MessageType.delta, '', 'a@1', 1, 2, 5, false, []]
    t.same(
      lostIn((network, a, b) => {
        network.connect(a, b)
        a.replicator.onDelta(a.peer(b), delta, encodeMessage(delta))
      })[0],
      { replica: 'a@1', number: 5 },
      'by a delta, though it ends where the own writes end',
    )
  },
)

t.test('after a new incarnation the old writes come back from the peers', async (t) => {
  const network = linked('ab')
  const [a, b] = network.servers
  for (let write = 0; write < 5; write++) a!.write('stone')
  network.settle()
  b!.sync()
  network.crash(a!, 2)
  network.connectAll()
  network.settle()
  t.ok(a!.lost.length > 0)
  a!.incarnation = 2
  for (const partition of a!.partitions.values()) partition.writeAs('a@2')
  a!.write('stone')
  a!.replicator.exchangeDigests()
  network.settle()
  t.equal(a!.quantity('stone'), 6n)
  t.ok(equal(network))
})

t.test('a world crosses only links between servers that host it', async (t) => {
  const network = new Network(
    new Server('a', ['', 'world:w']),
    new Server('b', ['', 'world:w']),
    new Server('c', ['']),
  )
  network.connectAll()
  network.settle()
  network.get('a').write('stone', 1, 'world:w')
  network.settle()
  t.same(network.told('delta'), ['a>b delta world:w a@1 (0,1] 1'])
})

t.test('a digest of ten thousand replicas goes in parts and means the same', async (t) => {
  const network = Network.of('ab')
  const [a, b] = network.servers
  for (let number = 0; number < 10_000; number++) {
    a!.partition().merge({
      partition: '',
      replica: `server-${number}@${'0'.repeat(31)}1`,
      from: 0,
      to: 1,
      horizon: 1,
      repair: false,
      cells: [],
    })
  }
  network.connectAll()
  network.settle()
  t.ok(equal(network))
  t.equal(b!.partition().replicas().length, 10_001)
  network.told()
  const before = network.deltas
  a!.replicator.exchangeDigests()
  network.settle()
  t.equal(network.told('digest').filter((line) => line.startsWith('a>b')).length, 10)
  t.equal(network.deltas, before, 'nothing is taken for missing')
})

t.test('what a lying peer sends is refused whole', async (t) => {
  const network = linked('ab')
  const [a, b] = network.servers
  a!.write('stone')
  network.settle()
  const before = b!.state()
  const peer = b!.peer(a!)
  const cell = [0, 2, 'vault', 'dirt', 1, 0]
  const lies: [string, WireTuple][] = [
    ['no interval', [MessageType.delta, '', 'a@1', 2, 2, 2, false, []]],
    ['backwards', [MessageType.delta, '', 'a@1', 3, 2, 3, false, []]],
    ['a horizon before its end', [MessageType.delta, '', 'a@1', 1, 2, 1, false, []]],
    ['a cell outside', [MessageType.delta, '', 'a@1', 2, 3, 3, false, [cell]]],
    ['cells out of order', [MessageType.delta, '', 'a@1', 1, 3, 3, false, [[0, 3, 'v', 'x', 1, 0], cell]]],
    ['a negative amount', [MessageType.delta, '', 'a@1', 1, 2, 2, false, [[0, 2, 'v', 'x', -1, 0]]]],
    ['a fraction', [MessageType.delta, '', 'a@1', 1, 2, 2, false, [[0, 2, 'v', 'x', 0.5, 0]]]],
    ['an endless number', [MessageType.delta, '', 'a@1', 1, 1e300, 1e300, false, []]],
    ['a replica that is none', [MessageType.delta, '', 'nobody', 0, 1, 1, false, []]],
    ['a replica with a line break', [MessageType.delta, '', 'a\nb@1', 0, 1, 1, false, []]],
    ['too short', [MessageType.delta, '', 'a@1']],
    ['not even text', [MessageType.delta, 1, 2, 3, 4, 5, 6, 7]],
  ]
  for (const [what, tuple] of lies) {
    t.throws(() => b!.replicator.onDelta(peer, tuple, new Uint8Array(1)), FrameError, what)
  }
  t.equal(b!.state(), before)
  t.equal(b!.records.length, 1, 'nothing was journalled')
  // Well-formed lies: about replicas and partitions that do not exist, servers without end.
  for (let number = 0; number < 5000; number++) {
    const rows = [{ partition: '', rows: [{ replica: `x${number}@1`, first: 9, second: 0 }] }]
    b!.replicator.onAcknowledge(peer, { server: `s${number}`, partitions: rows })
    b!.replicator.onAcknowledge(peer, {
      server: `s${number}`,
      partitions: [{ partition: '', rows: [{ replica: 'a@1', first: 1, second: 0 }] }],
    })
    const part = { received: 0, afterGap: true, wantsReply: false, more: false }
    b!.replicator.onDigest(peer, { ...part, partitions: rows })
    b!.replicator.onRepairRequest(peer, { partition: '', replica: `x${number}@1` })
    const delta: WireTuple = [MessageType.delta, '', `x${number}@1`, 5, 6, 6, false, []]
    b!.replicator.onDelta(peer, delta, encodeMessage(delta))
  }
  b!.checkBounds()
  t.ok([...b!.replicator.acknowledgements.servers()].length <= 1024)
  const kept = b!.replicator.acknowledgements.rows('s1', () => true)
  t.same(
    kept.flatMap(({ rows }) => rows.map(({ replica }) => replica)),
    ['a@1'],
  )
  const { vectors } = peer as unknown as { vectors: Map<string, Map<string, number>> }
  t.ok(vectors.get('')!.size < 10, 'positions of a digest replace those of the one before')
  t.equal(b!.state(), before)
  const part = { received: 0, afterGap: false, wantsReply: false, more: true }
  t.throws(() => {
    for (;;) {
      const rows = Array.from({ length: 4000 }, (_, n) => ({ replica: `y${n}@1`, first: 1, second: 1 }))
      b!.replicator.onDigest(peer, { ...part, partitions: [{ partition: '', rows }] })
    }
  }, FrameError)
})

t.test('a newer link to the same server survives the end of the older one', async (t) => {
  const network = linked('ab')
  const [a, b] = network.servers
  const older = network.direction(a!, b!)
  const link = { sendControl: () => undefined, sendBulk: () => true }
  const peer = a!.replicator.linkUp('b', link)
  a!.replicator.linkDown('b', older)
  t.equal(a!.replicator.peers.get('b'), peer)
  a!.replicator.linkDown('b', link)
  t.equal(a!.replicator.peers.size, 0)
})
