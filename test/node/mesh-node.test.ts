import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  ConfigError,
  DirectoryInUseError,
  InsufficientQuantityError,
  InvalidArgumentError,
  MeshNode,
  type MeshNodeOptions,
  NotRunningError,
  type SyncEvent,
} from '../../src/index.js'
import { converged, SECRET, TestMesh, until } from './mesh.js'

const DIAMOND = 'minecraft:diamond'

t.test('three servers share one storage', async (t) => {
  const mesh = new TestMesh(t)
  const { a, b, c } = await mesh.linked({ a: {}, b: {}, c: {} })
  await until(() =>
    [a, b, c].every((node) => node.members().filter(({ status }) => status === 'alive').length === 3),
  )

  const receipt = a.storage('vault').deposit(DIAMOND, 100)
  t.equal(receipt.state, 'pending')
  t.equal(a.storage('vault').quantity(DIAMOND), 100n, 'seen here at once')
  await receipt.durable
  t.equal(receipt.state, 'durable')
  await receipt.reached('STRONG')
  t.equal(c.storage('vault').quantity(DIAMOND), 100n)

  t.test('what was deposited anywhere can be withdrawn anywhere', async (t) => {
    const taken = b.storage('vault').withdrawNow(DIAMOND, 30n)
    t.equal(taken.amount, 30n)
    await taken.reached('QUORUM')
    await until(
      () => a.storage('vault').quantity(DIAMOND) === 70n && c.storage('vault').quantity(DIAMOND) === 70n,
    )
    t.throws(() => c.storage('vault').withdrawNow(DIAMOND, 71), InsufficientQuantityError)
    t.throws(() => c.storage('vault').withdrawNow('minecraft:emerald', 1), InsufficientQuantityError)
    t.equal(c.storage('vault').quantity(DIAMOND), 70n)
  })

  t.test('quantities are exact beyond what a float can hold', async (_t) => {
    const huge = 2n ** 53n
    a.storage('vault').deposit('minecraft:cobblestone', huge)
    b.storage('vault').deposit('minecraft:cobblestone', Number.MAX_SAFE_INTEGER)
    c.storage('vault').deposit('minecraft:cobblestone', 3)
    const expected = huge + BigInt(Number.MAX_SAFE_INTEGER) + 3n
    await until(() =>
      [a, b, c].every((node) => node.storage('vault').quantity('minecraft:cobblestone') === expected),
    )
    a.storage('vault').withdrawNow('minecraft:cobblestone', expected - 1n)
    await until(() =>
      [a, b, c].every((node) => node.storage('vault').quantity('minecraft:cobblestone') === 1n),
    )
  })

  t.test('a cut pair is bridged by the third server', async (t) => {
    a.setCut(['b'])
    await until(() => !b.members().find(({ serverId }) => serverId === 'a')!.linked)
    a.storage('vault').deposit('minecraft:gold_ingot', 5)
    await until(() => b.storage('vault').quantity('minecraft:gold_ingot') === 5n)
    t.equal(b.members().find(({ serverId }) => serverId === 'a')!.status, 'alive', 'alive by second hand')
    await a.storage('vault').deposit('minecraft:gold_ingot', 1).reached('STRONG')
    t.pass('acknowledgements come round too')
    a.setCut([])
    await until(() => b.members().find(({ serverId }) => serverId === 'a')!.linked)
  })

  t.test('changes are a stream of latest values', async (t) => {
    const abort = new AbortController()
    const seen: bigint[] = []
    const reading = (async () => {
      for await (const change of b.storage('vault').changes({ signal: abort.signal })) {
        // Rights to other items that move in the background are changes too.
        if (change.item !== 'minecraft:coal') continue
        seen.push(change.quantity)
        if (change.quantity === 1000n) abort.abort()
      }
    })()
    for (let count = 0; count < 1000; count++) a.storage('vault').deposit('minecraft:coal', 1)
    await reading
    t.equal(seen.at(-1), 1000n)
    t.ok(seen.length < 1000, 'steps in between are skipped, not queued')
  })

  t.test('events reach every subscriber once', async (t) => {
    const received = new Map<string, string[]>()
    for (const [name, node] of Object.entries({ a, b, c })) {
      received.set(name, [])
      node.on('event', (event: SyncEvent) => received.get(name)!.push(event.eventId))
    }
    const ids: string[] = []
    for (const node of [a, b, c]) {
      for (let count = 0; count < 20; count++) {
        const published = node.publish({
          type: 'ANCHOR_CREATED',
          entityType: 'anchor',
          entityId: `x${count}`,
        })
        ids.push(published.event.eventId)
      }
    }
    await until(() => [...received.values()].every((list) => list.length >= ids.length))
    for (const list of received.values()) t.same([...list].sort(), [...ids].sort())
  })

  t.test('shared state: the last writer wins everywhere', async (_t) => {
    a.setState('motd', Buffer.from('one'))
    await until(() => b.getState('motd') !== undefined)
    b.setState('motd', Buffer.from('two'))
    await until(() =>
      [a, b, c].every((node) => Buffer.from(node.getState('motd') ?? []).toString() === 'two'),
    )
    c.setState('motd', undefined)
    await until(() => [a, b, c].every((node) => node.getState('motd') === undefined))
    a.setState('soon', Buffer.from('x'), { timeToLiveMs: 1 })
    await until(() => a.getState('soon') === undefined)
  })

  t.test('bad input changes nothing', async (t) => {
    const vault = a.storage('vault')
    const held = () => [
      a.storageIds(),
      [...vault.items()].map(({ item, quantity }) => [item, String(quantity)]),
    ]
    const before = held()
    for (const amount of [
      0,
      -1,
      0.5,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      2 ** 53,
      '5',
      null,
      undefined,
      {},
      0n,
      -1n,
    ]) {
      t.throws(() => vault.deposit(DIAMOND, amount as number), InvalidArgumentError, String(amount))
      t.throws(() => vault.withdrawNow(DIAMOND, amount as number), InvalidArgumentError, String(amount))
    }
    for (const item of [
      '',
      'no-namespace',
      'a:b\u0000',
      'a:\n',
      `a:${'x'.repeat(2000)}`,
      5,
      null,
      undefined,
      {},
    ]) {
      t.throws(() => vault.deposit(item as string, 1), InvalidArgumentError, String(item))
      t.throws(() => vault.quantity(item as string), InvalidArgumentError, String(item))
    }
    for (const id of ['', 'x'.repeat(500), 'a\u0007b', 5, undefined]) {
      t.throws(() => a.storage(id as string), InvalidArgumentError, String(id))
    }
    t.throws(() => a.storage('vault', { world: 'nether' }), InvalidArgumentError)
    t.throws(() => a.storage('vault', { wrold: 'x' } as object), InvalidArgumentError)
    t.throws(() => a.setState('', Buffer.from('x')), InvalidArgumentError)
    t.throws(() => a.setState('\ud800', Buffer.from('x')), InvalidArgumentError)
    t.throws(() => a.setState('k', 'text' as never), InvalidArgumentError)
    t.throws(
      () => a.publish({ type: 'NO_SUCH' as never, entityType: 'x', entityId: 'y' }),
      InvalidArgumentError,
    )
    await a.flush()
    t.same(held(), before)
  })

  t.test('a level that cannot be reached says how far it got', async (t) => {
    await c.stop()
    const stands = a.storage('vault').deposit(DIAMOND, 1)
    await stands.reached('QUORUM')
    await t.rejects(stands.reached('STRONG', { timeoutMs: 100 }), {
      name: 'LevelNotReachedError',
      reached: 2,
      needed: 3,
      indeterminate: true,
    })
    await t.rejects(stands.reached('STRONG', { signal: AbortSignal.abort() }), { code: 'ABORTED' })
    t.throws(() => c.storage('vault').deposit(DIAMOND, 1), NotRunningError)
  })
})

t.test('a restart goes on as the same replica, and a torn-off world comes back', async (t) => {
  const mesh = new TestMesh(t)
  const first = await mesh.start('a', { worlds: ['overworld'] })
  first.storage('vault').deposit(DIAMOND, 7)
  first.storage('chest', { world: 'overworld' }).deposit(DIAMOND, 2)
  const { replica } = first.status()
  await t.rejects(mesh.start('a'), DirectoryInUseError)
  await first.stop()
  const second = await mesh.start('a', { worlds: ['overworld'] })
  t.equal(second.status().replica, replica)
  t.equal(second.storage('vault').quantity(DIAMOND), 7n)
  t.equal(second.storage('chest', { world: 'overworld' }).quantity(DIAMOND), 2n)
  t.same([...second.storage('vault').items()], [{ item: DIAMOND, quantity: 7n }])
  t.same(second.storageIds(), [
    { id: 'vault', world: undefined },
    { id: 'chest', world: 'overworld' },
  ])
})

t.test('a world crosses only the links of servers that host it', async (t) => {
  const mesh = new TestMesh(t)
  const a = await mesh.start('a', { worlds: ['overworld'] })
  const b = await mesh.start('b', { worlds: ['overworld'], peers: [a.address] })
  const c = await mesh.start('c', { worlds: ['nether'], peers: [a.address, b.address] })
  await a
    .storage('chest', { world: 'overworld' })
    .deposit(DIAMOND, 3)
    .reached('STRONG', { timeoutMs: 20_000 })
    .catch(() => undefined)
  await until(() => b.storage('chest', { world: 'overworld' }).quantity(DIAMOND) === 3n)
  a.storage('vault').deposit(DIAMOND, 1)
  await until(() => c.storage('vault').quantity(DIAMOND) === 1n)
  t.notOk(c.status().partitions.some(({ partition }) => partition === 'world:overworld'))
  await a.storage('chest', { world: 'overworld' }).deposit(DIAMOND, 1).reached('STRONG')
  t.pass('STRONG counts the servers that host the world')
})

t.test('a restored backup takes a new incarnation before it writes, and nothing is lost', async (t) => {
  const mesh = new TestMesh(t)
  const b = await mesh.start('b')
  let a = await mesh.start('a', { peers: [b.address] })
  await a.storage('vault').deposit(DIAMOND, 10).reached('STRONG')
  await a.stop()
  const data = join(mesh.directory, 'a')
  cpSync(data, `${data}.backup`, { recursive: true })
  a = await mesh.start('a', { peers: [b.address] })
  await a.ready
  const { replica } = a.status()
  await until(() => !a.status().numberingHeld)
  await a.storage('vault').deposit(DIAMOND, 5).reached('STRONG')
  await a.stop()
  rmSync(data, { recursive: true })
  cpSync(`${data}.backup`, data, { recursive: true })

  a = await mesh.start('a', { peers: [b.address] })
  const incarnations: string[] = []
  a.on('incarnation', ({ replica: after }) => incarnations.push(after))
  t.ok(a.status().numberingHeld, 'no number is given before the peers have been heard')
  const receipt = a.storage('vault').deposit(DIAMOND, 1)
  await receipt.durable
  await receipt.reached('STRONG')
  t.equal(incarnations.length, 1)
  t.not(a.status().replica, replica)
  await until(
    () => a.storage('vault').quantity(DIAMOND) === 16n && b.storage('vault').quantity(DIAMOND) === 16n,
  )
  await until(() => converged(a, b))
})

/** The servers a and b have ten diamonds, and are stopped: how a finds b again, and what b knew of it. */
async function parted(mesh: TestMesh) {
  const b = await mesh.start('b')
  const peers = [b.address]
  const listen = { host: '127.0.0.1', port: Number(new URL(b.address).port) }
  const a = await mesh.start('a', { peers })
  await a.storage('vault').deposit(DIAMOND, 10).reached('STRONG')
  await a.stop()
  const known = b.status().partitions[0]!.versionVector[a.status().replica]
  await b.stop()
  return { peers, listen, known }
}

t.test('a restarted server without peers keeps its writes durable, and they count once', async (t) => {
  const mesh = new TestMesh(t)
  const { peers, listen, known } = await parted(mesh)
  let a!: MeshNode
  for (let round = 1; round <= 3; round++) {
    a = await mesh.start('a', { peers })
    t.equal(a.storage('vault').quantity(DIAMOND), BigInt(9 + round))
    await a.storage('vault').deposit(DIAMOND, 1).durable
    t.ok(a.status().numberingHeld)
    const { settled, unnumbered, versionVector } = a.status().partitions[0]!
    t.ok(settled && unnumbered > 0, `${unnumbered} entries have writes that nobody else has seen`)
    t.equal(versionVector[a.status().replica], known, 'and the vector does not speak of')
    if (round < 3) await a.stop()
  }
  const b = await mesh.start('b', { listen })
  await until(() => b.storage('vault').quantity(DIAMOND) === 13n)
  await until(() => converged(a, b))
  t.equal(a.storage('vault').quantity(DIAMOND), 13n)
  await a.stop()
  a = await mesh.start('a', { peers })
  t.equal(a.storage('vault').quantity(DIAMOND), 13n, 'numbered writes are not counted again after a restart')
})

t.test(
  'a backup taken while numbering was held does not count its writes twice (simulator seed 233)',
  async (t) => {
    const mesh = new TestMesh(t)
    const { peers, listen } = await parted(mesh)
    let a = await mesh.start('a', { peers })
    await a.storage('vault').deposit(DIAMOND, 1).durable
    t.ok(a.status().numberingHeld)
    await a.stop()
    const data = join(mesh.directory, 'a')
    cpSync(data, `${data}.backup`, { recursive: true })
    a = await mesh.start('a', { peers })
    const b = await mesh.start('b', { listen })
    await until(() => b.storage('vault').quantity(DIAMOND) === 11n)
    await a.stop()
    rmSync(data, { recursive: true })
    cpSync(`${data}.backup`, data, { recursive: true })
    a = await mesh.start('a', { peers })
    const { replica } = a.status()
    await a.storage('vault').deposit(DIAMOND, 1).reached('STRONG')
    t.not(a.status().replica, replica, 'the restored server writes anew')
    await until(() => converged(a, b))
    t.equal(a.storage('vault').quantity(DIAMOND), 12n)
    t.equal(b.storage('vault').quantity(DIAMOND), 12n)
  },
)

t.test('memory-only nodes are new replicas at every start', async (t) => {
  const mesh = new TestMesh(t)
  const a = await mesh.start('a')
  const first = await mesh.startInMemory('m', { peers: [a.address] })
  await first.storage('vault').deposit(DIAMOND, 4).reached('STRONG')
  const { replica } = first.status()
  await first.stop()
  const second = await mesh.startInMemory('m', { peers: [a.address] })
  await second.ready
  await until(() => second.storage('vault').quantity(DIAMOND) === 4n)
  t.not(second.status().replica, replica)
  await second.storage('vault').deposit(DIAMOND, 1).reached('STRONG')
  t.equal(a.storage('vault').quantity(DIAMOND), 5n)
})

t.test('refused: wrong secret, other cluster, a name in use', async (t) => {
  const mesh = new TestMesh(t)
  const a = await mesh.start('a')
  const reasons = async (node: MeshNode) =>
    new Promise<string>((resolve) => node.on('linkRefused', ({ reason }) => resolve(reason)))
  for (const [options, reason] of [
    [{ secret: new Uint8Array(32).fill(9) }, 'wrong-secret'],
    [{ clusterId: 'other' }, 'wrong-cluster'],
  ] as const) {
    const here = reasons(a)
    const stranger = await mesh.startInMemory('x', { peers: [a.address], ...options })
    t.equal(await here, reason)
    t.equal(a.members().length, 1)
    await stranger.stop()
  }
  const b = await mesh.start('b', { peers: [a.address] })
  await b.storage('vault').deposit(DIAMOND, 1).reached('STRONG')
  await b.stop()
  const here = reasons(a)
  const impostor = await mesh.start('b', { peers: [a.address], dataDir: join(mesh.directory, 'b-impostor') })
  t.equal(await reasons(impostor), 'name-in-use')
  t.equal(await here, 'name-in-use')

  t.throws(() => a.releaseName('nobody'), { code: 'NOT_FOUND' })
  await impostor.stop()
  a.releaseName('b')
  const again = await mesh.start('b', { peers: [a.address], dataDir: join(mesh.directory, 'b-impostor') })
  await again.ready
  await until(() => again.storage('vault').quantity(DIAMOND) === 1n)
  await until(() => a.members().find(({ serverId }) => serverId === 'b')?.status === 'alive')
  t.throws(() => a.releaseName('b'), { code: 'CONFLICT' })
})

t.test('options are checked before anything happens', async (t) => {
  const good: MeshNodeOptions = { clusterId: 'c', serverId: 's', secret: SECRET }
  const bad: object[] = [
    { clusterId: '' },
    { serverId: 'a b' },
    { secret: new Uint8Array(3) },
    { secret: undefined },
    { secretFile: 'x' },
    { listen: { host: 'h', port: 70_000 } },
    { listen: { host: 'h', port: 1, extra: true } },
    { peers: ['http://x'] },
    { durability: 'sync' },
    { dataDir: 'x', durability: 'memory' },
    { syncIntervalMs: 0 },
    { worlds: ['a\nb'] },
    { raft: { maxVoters: 3, unknown: true } },
    { resolver: { resolve: 'first come' } },
    { logger: { info: () => undefined } },
    { unknown: 1 },
  ]
  for (const change of bad) {
    await t.rejects(
      MeshNode.start({ ...good, ...change } as MeshNodeOptions),
      ConfigError,
      JSON.stringify(change),
    )
  }
  await t.rejects(
    MeshNode.start({ ...good, secret: undefined, secretFile: '/nonexistent/key' } as never),
    ConfigError,
  )
})
