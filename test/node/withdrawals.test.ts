import t from 'tap'
import { lowerIdResolver } from '../../src/conflict/resolver.js'
import { Settlement } from '../../src/conflict/settlement.js'
import { UNDISPUTED } from '../../src/conflict/standing.js'
import { CellKind } from '../../src/crdt/cell.js'
import { Partition } from '../../src/crdt/partition.js'
import { createRealEnvironment } from '../../src/environment/real-environment.js'
import {
  DiskFullError,
  InsufficientQuantityError,
  InsufficientRightsError,
  type MeshNode,
  OutcomeUnknownError,
  type Storage,
} from '../../src/index.js'
import { Withdrawals } from '../../src/node/withdrawals.js'
import { WriteGroup } from '../../src/node/write-group.js'
import { calmCluster } from '../simulation/calm-cluster.js'
import { converged, TestMesh, until } from './mesh.js'

const DIAMOND = 'minecraft:diamond'
const vaultOf = (node: MeshNode): Storage => node.storage('vault')

async function three(mesh: TestMesh): Promise<[MeshNode, MeshNode, MeshNode]> {
  const { a, b, c } = await mesh.linked({ a: {}, b: {}, c: {} })
  return [a, b, c]
}

t.test('a withdrawal is backed where the deposit was, and borrows elsewhere', async (t) => {
  const mesh = new TestMesh(t)
  const [a, b] = await three(mesh)
  await vaultOf(a).deposit(DIAMOND, 100).reached('STRONG')
  t.equal(vaultOf(b).tryWithdraw(DIAMOND, 10), undefined, 'no rights there yet')
  t.equal(vaultOf(b).quantity(DIAMOND), 100n)
  t.equal(vaultOf(a).tryWithdraw(DIAMOND, 10)!.kind, 'backed')
  await until(() => vaultOf(b).quantity(DIAMOND) === 90n)

  t.equal((await vaultOf(b).withdraw(DIAMOND, 20, { simulate: true })).kind, 'provisional')
  t.equal(vaultOf(b).quantity(DIAMOND), 90n, 'a simulation changes nothing')
  const provisional = await vaultOf(b).withdraw(DIAMOND, 20)
  t.equal(provisional.kind, 'provisional')
  t.equal(vaultOf(b).quantity(DIAMOND), 70n, 'it succeeded at once')
  t.equal(await provisional.settled, 'confirmed')

  const backed = await vaultOf(b).withdraw(DIAMOND, 30, { mode: 'backed' })
  t.equal(backed.kind, 'backed')
  t.equal(backed.id, undefined)
  await until(() => vaultOf(a).quantity(DIAMOND) === 40n && converged(a, b))
  await t.rejects(vaultOf(b).withdraw(DIAMOND, 41), InsufficientQuantityError)
  await t.rejects(vaultOf(b).withdraw(DIAMOND, 1, { mood: 'x' } as object), { code: 'INVALID_ARGUMENT' })
})

t.test(
  'both sides of a cut take the last items: exactly one is compensated, and told until acknowledged',
  async (t) => {
    const mesh = new TestMesh(t)
    const [a, b, c] = await three(mesh)
    await vaultOf(a).deposit(DIAMOND, 10).reached('STRONG')
    a.setCut(['b', 'c'])
    await until(() => b.members().find(({ serverId }) => serverId === 'a')!.linked === false)
    await until(() => c.members().find(({ serverId }) => serverId === 'a')!.linked === false)

    const backed = await vaultOf(a).withdraw(DIAMOND, 10)
    t.equal(backed.kind, 'backed')
    await t.rejects(
      vaultOf(c).withdraw(DIAMOND, 10, { mode: 'backed', timeoutMs: 200 }),
      InsufficientRightsError,
    )
    await t.rejects(vaultOf(c).withdraw(DIAMOND, 10, { mode: 'backed', timeoutMs: 1 }), {
      code: 'INSUFFICIENT_RIGHTS',
      ownRights: 0n,
    })
    const told: string[] = []
    b.on('compensated', ({ id }) => told.push(id))
    const provisional = await vaultOf(b).withdraw(DIAMOND, 10)
    t.equal(provisional.kind, 'provisional')
    t.equal(vaultOf(b).quantity(DIAMOND), 0n)
    a.setCut([])
    t.equal(await provisional.settled, 'compensated')
    await until(() => converged(a, b, c))
    for (const node of [a, b, c]) t.equal(vaultOf(node).quantity(DIAMOND), 0n)
    t.same(told, [provisional.id])
    t.same(
      b.compensations().map(({ id, amount }) => [id, amount]),
      [[provisional.id, 10n]],
    )

    await b.stop()
    const again = await mesh.start('b', { peers: [a.address] })
    t.same(
      again.compensations().map(({ id }) => id),
      [provisional.id],
      'still to be told after a restart',
    )
    t.equal(again.acknowledgeCompensation(provisional.id!), true)
    t.equal(again.acknowledgeCompensation(provisional.id!), false)
    t.same(again.compensations(), [])
    t.equal(vaultOf(again).quantity(DIAMOND), 0n)
  },
)

t.test('many servers withdraw one item at once: nothing is taken twice', async (t) => {
  const mesh = new TestMesh(t)
  const nodes = await three(mesh)
  await Promise.all(nodes.map((node) => vaultOf(node).deposit(DIAMOND, 100).reached('STRONG')))
  const outcomes = await Promise.all(
    nodes.flatMap((node) =>
      Array.from({ length: 60 }, async () => {
        try {
          const withdrawal = await vaultOf(node).withdraw(DIAMOND, 2)
          return (await withdrawal.settled) === 'compensated' ? 0n : 2n
        } catch (error) {
          if (error instanceof InsufficientQuantityError) return 0n
          throw error
        }
      }),
    ),
  )
  const taken = outcomes.reduce((sum: bigint, amount) => sum + amount, 0n)
  await until(() => converged(...nodes))
  for (const node of nodes) t.equal(vaultOf(node).quantity(DIAMOND), 300n - taken)
  t.ok(taken <= 300n)
})

t.test('an operation id takes effect once, also across a restart', async (t) => {
  const mesh = new TestMesh(t)
  let a = await mesh.start('a')
  const first = vaultOf(a).deposit(DIAMOND, 10, { operationId: 'op-1' })
  vaultOf(a).deposit(DIAMOND, 10, { operationId: 'op-1' })
  await first.durable
  await vaultOf(a).deposit(DIAMOND, 10, { operationId: 'op-1' }).durable
  t.equal(vaultOf(a).quantity(DIAMOND), 10n)
  t.throws(() => vaultOf(a).deposit(DIAMOND, 11, { operationId: 'op-1' }), { code: 'CONFLICT' })
  t.throws(() => vaultOf(a).deposit(DIAMOND, 1, { operationId: '' }), { code: 'INVALID_ARGUMENT' })
  const taken = await vaultOf(a).withdraw(DIAMOND, 4, { operationId: 'op-2' })
  await taken.durable
  await a.stop()
  a = await mesh.start('a')
  vaultOf(a).deposit(DIAMOND, 10, { operationId: 'op-1' })
  const again = await vaultOf(a).withdraw(DIAMOND, 4, { operationId: 'op-2' })
  t.equal(again.kind, 'backed')
  t.equal(await again.settled, 'confirmed')
  t.equal(vaultOf(a).quantity(DIAMOND), 6n)
})

t.test('a provisional withdrawal is recalled by its operation id, with its outcome', async (t) => {
  const mesh = new TestMesh(t)
  const [a, b] = await three(mesh)
  await vaultOf(a).deposit(DIAMOND, 10).reached('STRONG')
  const once = await vaultOf(b).withdraw(DIAMOND, 4, { operationId: 'op-3' })
  const twice = await vaultOf(b).withdraw(DIAMOND, 4, { operationId: 'op-3' })
  t.equal(once.kind, 'provisional')
  t.equal(twice.id, once.id)
  t.same(await Promise.all([once.settled, twice.settled]), ['confirmed', 'confirmed'])
  t.equal(vaultOf(b).quantity(DIAMOND), 6n)
})

t.test('a batch happens whole or not at all, also across storages', async (t) => {
  const mesh = new TestMesh(t)
  const [a, b] = await three(mesh)
  const vault = vaultOf(a)
  vault.deposit('minecraft:stick', 2)
  vault.deposit(DIAMOND, 2)
  const recipe = [
    { item: DIAMOND, withdraw: 3 },
    { item: 'minecraft:stick', withdraw: 2 },
    { item: 'minecraft:diamond_pickaxe', deposit: 1, storage: 'products' },
  ]
  t.throws(() => vault.batch(recipe), InsufficientRightsError)
  t.equal(vault.quantity(DIAMOND), 2n)
  t.equal(vault.quantity('minecraft:stick'), 2n)
  vault.deposit(DIAMOND, 1)
  await vault.batch(recipe, { operationId: 'craft-1' }).durable
  vault.batch(recipe, { operationId: 'craft-1' })
  t.equal(vault.quantity(DIAMOND), 0n)
  t.equal(a.storage('products').quantity('minecraft:diamond_pickaxe'), 1n)
  await until(() => b.storage('products').quantity('minecraft:diamond_pickaxe') === 1n)
  t.equal(vaultOf(b).quantity('minecraft:stick'), 0n, 'both halves arrive together')
  for (const bad of [
    [],
    [{ item: DIAMOND }],
    [{ item: DIAMOND, deposit: 1, withdraw: 1 }],
    [{ item: DIAMOND, deposit: 0 }],
  ]) {
    t.throws(() => vault.batch(bad), { code: 'INVALID_ARGUMENT' })
  }
})

t.test("with durability 'sync' an awaited withdrawal is on disk, with 'group' it is just made", async (t) => {
  const mesh = new TestMesh(t)
  for (const durability of ['sync', 'group'] as const) {
    const vault = vaultOf(await mesh.start(durability, { durability }))
    await vault.deposit(DIAMOND, 10).durable
    const state = durability === 'sync' ? 'durable' : 'pending'
    t.equal((await vault.withdraw(DIAMOND, 1)).state, state, `${durability}: optimistic`)
    t.equal((await vault.withdraw(DIAMOND, 1, { mode: 'backed' })).state, state, `${durability}: backed`)
    t.equal(
      vault.tryWithdraw(DIAMOND, 1)?.state,
      'pending',
      `${durability}: a synchronous call waits for nothing`,
    )
    t.equal((await vault.withdraw(DIAMOND, 1, { simulate: true })).isSimulated, true)
  }
})

t.test(
  "with durability 'sync' a disk that takes nothing leaves an awaited withdrawal in doubt",
  async (t) => {
    const cluster = calmCluster(t, ['a'], () => ({ dataDir: '/data', durability: 'sync' }))
    const server = cluster.servers[0]!
    server.start()
    await cluster.pass(1_000)
    cluster.within(server, (node) => vaultOf(node).deposit(DIAMOND, 10))
    await cluster.pass(1_000)
    server.machine.disk.full = true
    const told: unknown[] = []
    const withdraw = () =>
      cluster.within(server, (node) => {
        vaultOf(node)
          .withdraw(DIAMOND, 4, { operationId: 'op-1' })
          .then(
            ({ state }) => told.push(state),
            (error: unknown) => told.push(error),
          )
      })
    withdraw()
    await cluster.pass(1_000)
    t.ok(told[0] instanceof OutcomeUnknownError)
    t.ok((told[0] as OutcomeUnknownError).cause instanceof DiskFullError)
    t.equal(server.node && vaultOf(server.node).quantity(DIAMOND), 6n, 'it was made')
    server.machine.disk.full = false
    await cluster.pass(60_000)
    withdraw()
    await cluster.pass(1_000)
    t.equal(told[1], 'durable')
    t.equal(server.node && vaultOf(server.node).quantity(DIAMOND), 6n, 'once')
  },
)

t.test(
  'a server that was put back to an older state backs nothing before its peers were heard',
  async (t) => {
    const mesh = new TestMesh(t)
    let a = await mesh.start('a')
    const b = await mesh.start('b', { peers: [a.address] })
    await Promise.all([a.ready, b.ready])
    await vaultOf(a).deposit(DIAMOND, 10).reached('STRONG')
    const { address } = a
    await a.stop()
    a = await mesh.start('a', { peers: ['ws://127.0.0.1:1'], listen: { host: '127.0.0.1', port: 0 } })
    t.ok(address)
    t.equal(a.status().numberingHeld, true)
    t.equal(vaultOf(a).tryWithdraw(DIAMOND, 4), undefined)
    t.throws(() => vaultOf(a).batch([{ item: DIAMOND, withdraw: 1 }]), {
      code: 'INSUFFICIENT_RIGHTS',
      ownRights: 0n,
    })
    t.equal((await vaultOf(a).withdraw(DIAMOND, 1, { simulate: true })).kind, 'provisional')
    const taken = await vaultOf(a).withdraw(DIAMOND, 4)
    t.equal(taken.kind, 'provisional')
    await taken.durable
    await b.stop()
    const again = await mesh.start('b', { peers: [a.address] })
    t.equal(await taken.settled, 'confirmed')
    t.equal(vaultOf(a).tryWithdraw(DIAMOND, 6)!.kind, 'backed')
    await until(() => vaultOf(again).quantity(DIAMOND) === 0n)
  },
)

t.test('whoever begins to listen hears of compensations that nobody has acknowledged', async (t) => {
  const mesh = new TestMesh(t)
  const [a, b] = await three(mesh)
  await vaultOf(a).deposit(DIAMOND, 10).reached('STRONG')
  a.setCut(['b', 'c'])
  await until(() => b.members().find(({ serverId }) => serverId === 'a')!.linked === false)
  vaultOf(a).tryWithdraw(DIAMOND, 10)
  const lost = await vaultOf(b).withdraw(DIAMOND, 10)
  a.setCut([])
  t.equal(await lost.settled, 'compensated')
  const told: string[] = []
  b.on('compensated', () => {
    throw new Error('a listener that throws')
  })
  b.on('compensated', ({ id }) => told.push(id))
  await until(() => told.length > 0)
  b.acknowledgeCompensation(lost.id!)
  b.on('compensated', ({ id }) => told.push(id))
  await new Promise(setImmediate)
  t.same(told, [lost.id])
})

t.test('a clock that goes back does not make a later incarnation an earlier one', async (t) => {
  const mesh = new TestMesh(t)
  const a = await mesh.start('a')
  const first = await mesh.startInMemory('m', { peers: [a.address] })
  await first.ready
  vaultOf(first).deposit(DIAMOND, 1)
  await until(() => vaultOf(a).quantity(DIAMOND) === 1n)
  await first.stop()
  const real = createRealEnvironment()
  const clock = { monotonicMs: () => real.clock.monotonicMs(), wallMs: () => real.clock.wallMs() - 7_200_000 }
  const second = await mesh.startInMemory('m', { peers: [a.address], environment: { ...real, clock } })
  const replicas: string[] = []
  second.on('incarnation', ({ replica }) => replicas.push(replica))
  await until(() => replicas.length > 0)
  t.ok(replicas[0]! > first.status().replica, `${replicas[0]} is later than ${first.status().replica}`)
  vaultOf(second).deposit(DIAMOND, 5)
  await until(() => vaultOf(a).quantity(DIAMOND) === 6n)
  t.equal((await vaultOf(a).withdraw(DIAMOND, 5, { mode: 'backed' })).kind, 'backed', 'its rights can be had')
})

const place = { storage: 'vault', item: DIAMOND }
const itemOf = (partition: Partition) =>
  partition.table.entry(partition.table.namespace(CellKind.counter, place.storage), place.item)
const flush = (partition: Partition) => partition.completeFlush(partition.prepareFlush(1000)!)
const catchUp = (partition: Partition, from: Partition) => {
  for (const { replica } of from.replicas())
    partition.merge(from.deltaSince(replica, partition.known(replica), 1e6)!)
}

/** b has the 5 there are, and a former incarnation of a has taken them beyond its rights. */
function takenByFormer(): { source: Partition; former: Partition; settlement: Settlement } {
  const source = new Partition('p')
  source.writeAs('b@1')
  source.own.deposit(itemOf(source), 5)
  flush(source)
  const former = new Partition('p')
  former.writeAs('a@1')
  catchUp(former, source)
  const settlement = new Settlement(former)
  settlement.withdraw({ ...place, amount: 5, id: 'id-1', mode: 'optimistic', untilMs: 0 }, 0)
  flush(former)
  return { source, former, settlement }
}

/** b takes them, too, and the former incarnation gives them back. */
function compensate({ source, former, settlement }: ReturnType<typeof takenByFormer>): void {
  source.own.withdraw(itemOf(source), 5)
  flush(source)
  catchUp(former, source)
  settlement.tick(1)
  settlement.run(1, 10)
}

/** The present incarnation of a, and what its application is told. */
function presentOf(former: Partition, group: WriteGroup, standing = UNDISPUTED) {
  const told: string[] = []
  let changed: (entry: number) => void = () => undefined
  const present = new Partition('p', (entry) => changed(entry))
  present.writeAs('a@2')
  catchUp(present, former)
  const withdrawals = new Withdrawals({
    partition: present,
    environment: createRealEnvironment(),
    resolver: lowerIdResolver,
    standing,
    groupOf: () => group,
    send: () => undefined,
    onCompensated: ({ id }) => told.push(`take back ${id}`),
    onParked: ({ id }) => told.push(`parked ${id}`),
    onSettled: ({ id, state }) => told.push(`${id} ${state}`),
  })
  changed = (entry) => withdrawals.changed(entry)
  t.teardown(() => withdrawals.stop())
  return { present, told, withdrawals }
}

function durableGroup(): WriteGroup {
  const group = new WriteGroup()
  group.durable.reach(undefined)
  return group
}

t.test('an outcome that comes back with its acknowledgement is told as a compensation, once', async (t) => {
  const history = takenByFormer()
  const { former, settlement } = history
  const standing = { ...UNDISPUTED, knowsFormer: () => false }
  const { present, told, withdrawals } = presentOf(former, durableGroup(), standing)
  const { settled } = withdrawals.recall(place.storage, 'id-1')
  t.notOk(settled.reached, 'open as far as is known here')

  compensate(history)
  t.equal(settlement.acknowledge('id-1', 1), true)
  flush(former)
  catchUp(present, former)
  t.equal(await settled.wait(), 'compensated')
  t.same(told, ['id-1 compensated'], 'the items were taken back already')
})

t.test('an outcome that is news when this server becomes another replica is told all the same', async (t) => {
  const history = takenByFormer()
  const { former } = history
  const { present, told, withdrawals } = presentOf(former, durableGroup())
  compensate(history)
  flush(former)
  catchUp(present, former)
  present.writeAs('a@3')
  withdrawals.changeIncarnation()
  await new Promise(setImmediate)
  t.same(told, ['id-1 compensated', 'take back id-1'])
})

t.test(
  'a compensation that met a full disk is told when it is durable at last, unless the node stops',
  async (t) => {
    for (const isFinal of [false, true]) {
      const { source, former } = takenByFormer()
      const group = new WriteGroup()
      const { present, told, withdrawals } = presentOf(former, group)
      const { settled } = withdrawals.recall(place.storage, 'id-1')
      source.own.withdraw(itemOf(source), 5)
      flush(source)
      catchUp(present, source)
      await until(() => withdrawals.unacknowledged().length > 0 || !present.own.isEmpty)
      await new Promise(setImmediate)
      const impatient = t.rejects(group.durable.wait(), DiskFullError)
      group.fail(new DiskFullError('the disk is full'), isFinal)
      await impatient
      t.same(told, [])
      t.notOk(settled.reached)
      group.durable.reach(undefined)
      await new Promise(setImmediate)
      t.equal(settled.reached, !isFinal)
      t.same(told, isFinal ? [] : ['id-1 compensated', 'take back id-1'])
    }
  },
)
