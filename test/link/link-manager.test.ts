import t from 'tap'
import type { Environment } from '../../src/environment/environment.js'
import { createRealCompressor } from '../../src/environment/real-compressor.js'
import { createRealNetwork } from '../../src/environment/real-network.js'
import { backoffMs } from '../../src/link/dialler.js'
import { encodeHelloMessage } from '../../src/link/hello.js'
import type { InboundMessage, Link, LinkDownReason, LinkHandler } from '../../src/link/link.js'
import { LinkManager, MAX_GREETINGS } from '../../src/link/link-manager.js'
import {
  HELLO_TIMEOUT_MS,
  type LinkManagerOptions,
  PROBE_TIMEOUT_MS,
  RECONNECT_MAX_MS,
  RECONNECT_MIN_MS,
  REFUSED_RETRY_MS,
} from '../../src/link/link-manager-options.js'
import { ConfigError, type RefusalReason } from '../../src/sync/errors.js'
import { encodeMessage } from '../../src/wire/encode.js'
import { FakeWorld, fakeKeyPair } from './fake-environment.js'

interface Refused {
  peer: string
  reason: RefusalReason
  by: string
  detail: string
}

class Server {
  readonly manager: LinkManager
  readonly history: string[] = []
  readonly refusals: Refused[] = []
  readonly warnings: { fields: Record<string, unknown>; message: string }[] = []
  readonly received: [from: string, message: InboundMessage][] = []
  readonly links = new Map<string, Link>()

  constructor(environment: Environment, serverId: string, changes: Partial<LinkManagerOptions> = {}) {
    const key = [...serverId].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) & 0xff
    this.manager = new LinkManager({
      environment,
      keyPair: environment.network.keyPair(fakeKeyPair(key).publicKey),
      secret: new Uint8Array(32).fill(5),
      clusterId: 'skyblock',
      serverId,
      replicaId: () => `${serverId}@1`,
      listen: { host: '127.0.0.1', port: 0 },
      logger: {
        debug: () => undefined,
        info: () => undefined,
        error: () => undefined,
        warn: (fields, message) => this.warnings.push({ fields: fields as Record<string, unknown>, message }),
      },
      owner: {
        linkUp: (link) => this.linkUp(link),
        linkDown: (link, reason) => this.linkDown(link, reason),
        refused: (peer, reason, detail, by) => this.refusals.push({ peer, reason, by, detail }),
      },
      ...changes,
    })
  }

  private linkUp(link: Link): LinkHandler {
    const { serverId } = link.remote
    if (this.links.has(serverId)) throw new Error('two links to one server')
    this.links.set(serverId, link)
    this.history.push(`up ${serverId}`)
    return {
      message: (message) => {
        if (link.closed) throw new Error('a message from a closed link')
        return this.received.push([serverId, message]) > 0
      },
      bulkDrained: () => undefined,
    }
  }

  private linkDown(link: Link, reason: LinkDownReason): void {
    if (this.links.get(link.remote.serverId) !== link) throw new Error('down without up')
    this.links.delete(link.remote.serverId)
    this.history.push(`down ${link.remote.serverId} ${reason.by}: ${reason.reason}`)
  }
}

async function start(
  world: FakeWorld,
  serverId: string,
  changes: Partial<LinkManagerOptions> = {},
): Promise<Server> {
  const server = new Server(world.environment(), serverId, changes)
  await server.manager.start()
  return server
}

const address = (server: Server) => server.manager.listenAddress

t.test('two servers link once, whoever dials, and know each other', async (t) => {
  const world = new FakeWorld()
  const a = await start(world, 'a', { features: ['mine'] })
  const b = await start(world, 'b')
  b.manager.setTargets([address(a)])
  await world.pass(100)
  t.match(a.links.get('b')!.remote, {
    serverId: 'b',
    clusterId: 'skyblock',
    replicaId: 'b@1',
    instanceId: b.manager.instanceId,
    listenAddress: address(b),
    protocolVersion: 1,
  })
  t.same([...b.links.get('a')!.remote.features], ['deflate', 'mine'])
  t.notOk(a.links.get('b')!.initiator)
  a.links.get('b')!.sendControl(encodeMessage([8, 'from a']))
  b.links.get('a')!.sendBulk(encodeMessage([8, 'from b']))
  await world.pass(100)
  t.same(
    a.received.map(([from, message]) => [from, message.decode()]),
    [['b', [8, 'from b']]],
  )
  t.same(
    b.received.map(([from, message]) => [from, message.decode()]),
    [['a', [8, 'from a']]],
  )
  t.equal(a.manager.links.get('b'), a.links.get('b'))
})

t.test('simultaneous dials end with one link, the one of the smaller server id', async (t) => {
  for (const skewMs of [0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 10]) {
    for (const first of ['a', 'b']) {
      const world = new FakeWorld()
      const a = await start(world, 'a')
      const b = await start(world, 'b')
      const [early, late] = first === 'a' ? [a, b] : [b, a]
      early.manager.setTargets([address(late)])
      await world.pass(skewMs)
      late.manager.setTargets([address(early)])
      await world.pass(60_000)
      const label = `${first} dials ${skewMs} ms before`
      t.equal(a.links.size, 1, label)
      t.equal(b.links.size, 1, label)
      t.equal(a.links.get('b')!.initiator, !b.links.get('a')!.initiator, `${label}: it is the same link`)
      if (skewMs < 2) t.ok(a.links.get('b')!.initiator, `${label}: of the smaller id`)
      t.ok(a.history.length <= 3 && b.history.length <= 3, `${label}: ${a.history} / ${b.history}`)
      t.ok(world.dialled.length <= 3, `${label}: no dialling on and on`)
    }
  }
})

t.test('simultaneous dials over paths of any speed: one link, the same on both sides', async (t) => {
  let flaps = 0
  for (let seed = 1; seed <= 150; seed++) {
    const world = new FakeWorld(seed)
    world.jitterMs = 30
    const a = await start(world, 'a')
    const b = await start(world, 'b')
    const [early, late] = seed % 2 === 0 ? [a, b] : [b, a]
    early.manager.setTargets([address(late)])
    await world.pass(world.uniform() * 60)
    late.manager.setTargets([address(early)])
    await world.pass(2_000)
    const settled = a.history.length + b.history.length
    await world.pass(60_000)
    const [atA, atB] = [a.links.get('b'), b.links.get('a')]
    if (!atA || !atB || atA.initiator === atB.initiator) t.fail(`seed ${seed}: ${a.history} / ${b.history}`)
    if (a.history.length + b.history.length !== settled) t.fail(`seed ${seed}: no rest`)
    atA?.sendControl(encodeMessage([8, seed]))
    await world.pass(100)
    if (b.received.length !== 1) t.fail(`seed ${seed}: the two ends are not of one link`)
    flaps += a.history.length + b.history.length - 2
  }
  t.ok(flaps < 140, `${flaps} events beyond the two that are needed, in 150 pairs`)
})

t.test('a mesh of seven, all dialling all', async (t) => {
  const world = new FakeWorld()
  const servers = await Promise.all(Array.from('abcdefg', (serverId) => start(world, serverId)))
  const addresses = servers.map(address)
  for (const server of servers) {
    server.manager.setTargets(addresses)
    await world.pass(1)
  }
  await world.pass(30_000)
  for (const server of servers) t.equal(server.links.size, 6)
  const dials = world.dialled.length
  await world.pass(120_000)
  t.equal(world.dialled.length, dials, 'and then there is silence')
})

t.test('refusals: the same reason on both sides, logged on both sides', async (t) => {
  const cases: [RefusalReason, Partial<LinkManagerOptions>, Partial<LinkManagerOptions>][] = [
    ['wrong-secret', { secret: new Uint8Array(32) }, {}],
    ['wrong-cluster', { clusterId: 'another' }, {}],
    ['name-in-use', { serverId: 'a', replicaId: () => 'a@2' }, {}],
    ['too-many-links', {}, { maxLinks: 0 }],
    ['malformed-hello', { replicaId: () => 'someone-else@1' }, {}],
  ]
  for (const [reason, ofDialler, ofAcceptor] of cases) {
    const world = new FakeWorld()
    const a = await start(world, 'a', ofAcceptor)
    const b = await start(world, 'b', ofDialler)
    b.manager.setTargets([address(a)])
    await world.pass(100)
    t.match(a.refusals, [{ reason, by: 'local' }], `${reason} at the acceptor`)
    t.match(b.refusals, [{ reason, by: 'remote', detail: a.refusals[0]!.detail }], `${reason} at the dialler`)
    for (const server of [a, b]) {
      t.match(server.warnings, [
        { fields: { reason, detail: a.refusals[0]!.detail }, message: 'link refused' },
      ])
    }
    t.equal(a.links.size + b.links.size, 0)
    await world.pass(REFUSED_RETRY_MS * 2.1)
    const lasting = reason === 'wrong-secret' || reason === 'wrong-cluster'
    t.ok(lasting ? world.dialled.length <= 5 : world.dialled.length <= 25, `${world.dialled.length} dials`)
    t.ok(world.dialled.length >= 3, 'but it is tried again')
  }
})

t.test('its own address is dialled once and never again', async (t) => {
  const world = new FakeWorld()
  const a = await start(world, 'a', { advertisedAddress: 'ws://outside:7000' })
  a.manager.setTargets([[...world.listeners.keys()][0]!])
  await world.pass(200_000)
  t.equal(world.dialled.length, 1)
  t.match(a.refusals, [{ reason: 'self' }, { reason: 'self' }])
  a.manager.setTargets(['ws://outside:7000'])
  await world.pass(200_000)
  t.equal(world.dialled.length, 1, 'the advertised one not even once')
})

t.test('a copied data directory: the newcomer is refused while the first one lives', async (t) => {
  const world = new FakeWorld()
  const hub = await start(world, 'hub')
  const first = await start(world, 'b')
  first.manager.setTargets([address(hub)])
  await world.pass(100)
  const copy = await start(world, 'b')
  copy.manager.setTargets([address(hub)])
  await world.pass(PROBE_TIMEOUT_MS + 100)
  t.match(copy.refusals, [{ reason: 'name-in-use', by: 'remote', detail: /data directory copied/ }])
  t.match(hub.refusals, [{ reason: 'name-in-use', by: 'local', peer: 'b' }])
  t.equal(hub.links.get('b')!.remote.instanceId, first.manager.instanceId)
  t.same(hub.history, ['up b'])

  t.comment('once the first is silent, its name is free')
  for (const channel of world.channels) if (!channel.isClosed) channel.dead = true
  await world.pass(RECONNECT_MAX_MS * 1.5 + PROBE_TIMEOUT_MS)
  t.equal(hub.links.get('b')!.remote.instanceId, copy.manager.instanceId)
  t.match(hub.history, ['up b', /down b local: no answer/, 'up b'])
})

t.test('a restarted server comes in at once when its old connection is gone', async (t) => {
  const world = new FakeWorld()
  const hub = await start(world, 'hub')
  const b = await start(world, 'b')
  b.manager.setTargets([address(hub)])
  await world.pass(100)
  for (const channel of world.channels) channel.break()
  await b.manager.stop()
  const again = await start(world, 'b')
  again.manager.setTargets([address(hub)])
  await world.pass(50)
  t.equal(hub.links.get('b')!.remote.instanceId, again.manager.instanceId)
})

t.test('a half-open link gives way to a dial in the other direction', async (t) => {
  const world = new FakeWorld()
  const a = await start(world, 'a')
  const b = await start(world, 'b')
  a.manager.setTargets([address(b)])
  b.manager.setTargets([address(a)])
  await world.pass(5000)
  t.ok(a.links.get('b')!.initiator)
  // b loses the link, a does not notice.
  for (const channel of world.channels) channel.dead = true
  b.links.get('a')!.close('test')
  await world.pass(RECONNECT_MIN_MS * 2 + PROBE_TIMEOUT_MS + 100)
  t.match(a.history, ['up b', /down b local: no answer/, 'up b'])
  t.same(b.history, ['up a', 'down a local: test', 'up a'])
  await world.pass(10_000)
  t.equal(a.links.get('b')!.initiator, !b.links.get('a')!.initiator)
})

t.test('links come back after a break, with growing pauses, soon after a stable one', async (t) => {
  const world = new FakeWorld()
  const a = await start(world, 'a')
  const b = await start(world, 'b', { listen: undefined as never })
  b.manager.setTargets([address(a)])
  await world.pass(10_000)
  for (const channel of world.channels) channel.break()
  await world.pass(RECONNECT_MIN_MS + 50)
  t.same(b.history, ['up a', 'down a transport: connection lost', 'up a'])
  t.equal(a.links.get('b')!.remote.listenAddress, '')

  const target = address(a)
  await Promise.all([a.manager.stop(), world.pass(100)])
  const before = world.dialled.length
  await world.pass(60_000)
  const dials = world.dialled.length - before
  t.ok(dials >= 7 && dials <= 20, `${dials} dials in a minute of absence`)
  t.match(b.history.at(-1), 'down a remote: stopping')
  const port = Number(target.slice(target.lastIndexOf(':') + 1))
  const again = await start(world, 'a', { listen: { host: '127.0.0.1', port } })
  await world.pass(RECONNECT_MAX_MS + 100)
  t.equal(again.links.size, 1)
  t.same(
    [backoffMs(0), backoffMs(1), backoffMs(2)],
    [RECONNECT_MIN_MS, RECONNECT_MIN_MS * 2, RECONNECT_MIN_MS * 4],
  )
  t.equal(backoffMs(1e9), RECONNECT_MAX_MS)
})

t.test('a second address of a linked server is learnt and left alone', async (t) => {
  const world = new FakeWorld()
  const a = await start(world, 'a')
  const b = await start(world, 'b')
  const alias = 'ws://alias:1'
  world.listeners.set(alias, world.listeners.get(address(a))!)
  b.manager.setTargets([address(a), alias])
  await world.pass(120_000)
  t.equal(a.links.size, 1)
  t.equal(world.dialled.length, 2)
  t.ok(b.history.length <= 3)
  for (const channel of world.channels) channel.break()
  await world.pass(1000)
  t.equal(a.links.size, 1, 'both are tried again when the link is lost')
})

t.test('a cut pair is apart until healed, then together at once', async (t) => {
  const world = new FakeWorld()
  const [a, b, c] = [await start(world, 'a'), await start(world, 'b'), await start(world, 'c')]
  const all = [address(a!), address(b!), address(c!)]
  for (const server of [a!, b!, c!]) server.manager.setTargets(all)
  await world.pass(10_000)
  a!.manager.setCut(new Set(['b']))
  await world.pass(60_000)
  t.notOk(a!.links.has('b') || b!.links.has('a'))
  t.ok(a!.links.has('c') && b!.links.has('c'), 'the third keeps both')
  t.ok(b!.refusals.some(({ reason, by }) => reason === 'cut' && by === 'remote'))
  t.same(a!.warnings, [])
  a!.manager.setCut(new Set())
  await world.pass(50)
  t.ok(a!.links.has('b') && b!.links.has('a'))
})

t.test('who connects and says nothing, or nonsense, is dropped; the others do not notice', async (t) => {
  const world = new FakeWorld()
  const a = await start(world, 'a')
  const b = await start(world, 'b')
  b.manager.setTargets([address(a)])
  await world.pass(100)
  const network = world.environment().network
  const stranger = async () => {
    const dialled = network.dial({ address: address(a), keyPair: fakeKeyPair(9), handshakeTimeoutMs: 100 })
    await world.pass(5)
    const channel = await dialled
    let closed = false
    const answers: Uint8Array[] = []
    channel.setHandler({
      message: (message) => answers.push(message),
      drain: () => undefined,
      closed: () => {
        closed = true
      },
    })
    return { channel, answers, closed: () => closed }
  }
  const silent = await stranger()
  const noisy = await stranger()
  noisy.channel.send(Uint8Array.of(1, 2, 3))
  const impatient = await stranger()
  impatient.channel.send(encodeHelloMessage({ kind: 'ready' }))
  await world.pass(100)
  t.ok(noisy.closed() && impatient.closed())
  t.notOk(silent.closed())
  await world.pass(HELLO_TIMEOUT_MS)
  t.ok(silent.closed())
  t.same(
    a.refusals.map(({ reason }) => reason),
    ['malformed-hello', 'malformed-hello', 'hello-timeout'],
  )
  t.same(a.history, ['up b'])
})

t.test('stop says goodbye, stops dialling and listening, and refuses who is on the way', async (t) => {
  const world = new FakeWorld()
  const a = await start(world, 'a')
  const b = await start(world, 'b', { listen: undefined as never })
  const c = await start(world, 'c')
  b.manager.setTargets([address(a)])
  await world.pass(100)
  a.links.get('b')!.sendBulk(encodeMessage([8, 'last words']))
  c.manager.setTargets([address(a)])
  await world.pass(2.5)
  const stopping = a.manager.stop()
  a.manager.setTargets([address(c)])
  await world.pass(100)
  await stopping
  await a.manager.stop()
  t.match(b.received, [['a', {}]], 'what was queued arrived')
  t.same(a.history, ['up b', 'down b local: stopping'])
  t.ok(c.refusals.length === 0 || c.refusals[0]!.reason === 'stopping')
  t.equal(c.links.size, 0)
})

t.test('what no peer would accept is refused at once', async (t) => {
  const refused = (serverId: string, changes: Partial<LinkManagerOptions>) =>
    t.throws(() => new Server(new FakeWorld().environment(), serverId, changes), ConfigError)
  refused('x', { secret: new Uint8Array(8) })
  refused('x'.repeat(65), {})
  refused('lone \ud800', {})
  refused('x', { clusterId: '' })
  refused('x', { advertisedAddress: 'example.org:7000' })
})

t.test('strangers who fill the hall do not keep an honest server out', async (t) => {
  const world = new FakeWorld()
  const a = await start(world, 'a')
  const network = world.environment().network
  for (let count = 0; count < MAX_GREETINGS + 20; count++) {
    const dialled = network.dial({ address: address(a), keyPair: fakeKeyPair(9), handshakeTimeoutMs: 100 })
    await world.pass(2)
    ;(await dialled).setHandler({ message: () => undefined, drain: () => undefined, closed: () => undefined })
  }
  t.equal(a.refusals.filter(({ reason }) => reason === 'hello-timeout').length, 20)
  const b = await start(world, 'b')
  b.manager.setTargets([address(a)])
  await world.pass(50)
  t.ok(a.links.has('b'))
})

t.test('listening on every interface tells nobody an address that means "myself"', async (t) => {
  const world = new FakeWorld()
  const a = await start(world, 'a', { listen: { host: '0.0.0.0', port: 7999 } })
  t.equal(a.manager.listenAddress, '')
  t.match(a.warnings, [{ message: /advertised address/ }])
})

t.test('over real sockets', async (t) => {
  const fake = new FakeWorld().environment()
  const environment: Environment = {
    ...fake,
    clock: { wallMs: () => Date.now(), monotonicMs: () => performance.now() },
    random: {
      bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
      uniform: () => Math.random(),
    },
    scheduler: {
      after: (delayMs, task) => {
        const timer = setTimeout(task, delayMs)
        return { cancel: () => clearTimeout(timer) }
      },
      soon: (task) => void setImmediate(task),
    },
    network: createRealNetwork(),
    compressor: createRealCompressor(),
  }
  const servers = ['a', 'b', 'c'].map((serverId) => new Server(environment, serverId))
  t.teardown(() => Promise.all(servers.map((server) => server.manager.stop())))
  for (const server of servers) await server.manager.start()
  const [a, b, c] = servers as [Server, Server, Server]
  const until = async (condition: () => boolean) => {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  for (const server of servers) server.manager.setTargets(servers.map(address))
  await until(() => servers.every((server) => server.links.size === 2))
  t.pass('all linked')

  let sent = 0
  const chunk = (number: number) => encodeMessage([8, number, 'cell '.repeat(4000)])
  while (sent < 500) {
    if (a.links.get('b')!.sendBulk(chunk(sent))) sent += 1
    else await new Promise((resolve) => setImmediate(resolve))
    if (sent === 250) a.links.get('b')!.sendControl(encodeMessage([9, 'control']))
  }
  await until(() => b.received.length >= 501)
  const bulk = b.received
    .filter(([, message]) => message.type === 8)
    .map(([, message]) => message.decode()[1])
  t.same(
    bulk,
    Array.from({ length: 500 }, (_, index) => index),
  )
  t.ok(a.links.get('b')!.counters.bytesOut < 500 * 20_000 * 0.1, 'compressed')

  const before = new Map(servers.map((server) => [server, server.manager.links.get('b')]))
  b.manager.setCut(new Set(['a']))
  await until(() => !a.links.has('b'))
  t.ok(c.links.has('b'))
  b.manager.setCut(new Set())
  await until(() => a.links.has('b') && b.links.has('a'))
  t.not(a.manager.links.get('b'), before.get(a))

  const stranger = new Server(environment, 'stranger', { secret: new Uint8Array(32) })
  await stranger.manager.start()
  stranger.manager.setTargets([address(a)])
  await until(
    () => stranger.refusals.length > 0 && a.refusals.some(({ reason }) => reason === 'wrong-secret'),
  )
  t.match(stranger.refusals[0], { reason: 'wrong-secret', by: 'remote' })
  await stranger.manager.stop()

  await c.manager.stop()
  await until(() => !a.links.has('c') && !b.links.has('c'))
  t.match(a.history.at(-1), 'down c remote: stopping')
})
