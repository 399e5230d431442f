import t, { type Test } from 'tap'
import { CellKind } from '../../src/crdt/cell.js'
import { InsufficientRightsError, MeshNode, type MeshNodeOptions, type Storage } from '../../src/index.js'
import type { Cluster } from '../../src/simulation/cluster/cluster.js'
import { coreOf } from '../../src/simulation/core-of.js'
import { calmCluster } from '../simulation/calm-cluster.js'
import { SECRET, TestMesh, until } from './mesh.js'

const DIAMOND = 'minecraft:diamond'
const STICK = 'minecraft:stick'
const HOUR_MS = 60 * 60 * 1000
/** More than that lies between two looks for what has expired. */
const HOUSEKEEPING_MS = 61_000
const KILLS = 12
const KILL_STEP_MS = 0.25
const vaultOf = (node: MeshNode): Storage => node.storage('vault')

/** One server in virtual time, so that days pass. */
class Virtual {
  private readonly cluster: Cluster<MeshNode>

  constructor(t: Test, options: Partial<MeshNodeOptions>) {
    this.cluster = calmCluster(t, ['a'], () => ({ dataDir: '/data', ...options }))
    this.server.start()
  }

  private get server() {
    return this.cluster.servers[0]!
  }

  get node(): MeshNode {
    return this.server.node!
  }

  /** What the game server does in one turn; then it is on disk. */
  async within(task: (vault: Storage) => void): Promise<void> {
    this.call(task)
    await this.cluster.pass(1_000)
  }

  call(task: (vault: Storage) => void): void {
    this.cluster.within(this.server, (node) => task(vaultOf(node)))
  }

  pass(ms: number): Promise<void> {
    return this.cluster.pass(ms)
  }

  /** So much later, with nothing in between. */
  async later(ms: number): Promise<void> {
    this.server.machine.clock.jump(ms)
    await this.cluster.pass(1_000)
  }

  async killedAndStarted(): Promise<void> {
    this.server.kill()
    this.server.start()
    await this.cluster.pass(1_000)
  }

  /** Ids that take up room. */
  keptIds(): number {
    return (
      coreOf(this.node).partition('')!.table.findNamespace(CellKind.operation, 'vault')?.entries.size ?? 0
    )
  }
}

const IDS = [
  ['deposit', (vault: Storage) => vault.deposit(DIAMOND, 10, { operationId: 'deposit-1' })],
  ['withdraw', (vault: Storage) => vault.withdraw(DIAMOND, 2, { operationId: 'withdraw-1' })],
  ['tryWithdraw', (vault: Storage) => vault.tryWithdraw(DIAMOND, 1, { operationId: 'try-1' })],
  ['withdrawNow', (vault: Storage) => vault.withdrawNow(DIAMOND, 1, { operationId: 'now-1' })],
  [
    'a move to another storage',
    (vault: Storage) =>
      vault.batch(
        [
          { item: DIAMOND, withdraw: 3 },
          { item: DIAMOND, deposit: 3, storage: 'bank' },
        ],
        { operationId: 'move-1' },
      ),
  ],
] as const

t.test(
  'whatever is asked for again under its operation id takes effect once, also after a crash',
  async (t) => {
    const server = new Virtual(t, {})
    await server.pass(1_000)
    const amounts = () =>
      [vaultOf(server.node), server.node.storage('bank')].map((one) => one.quantity(DIAMOND))
    const expected = [
      [10n, 0n],
      [8n, 0n],
      [7n, 0n],
      [6n, 0n],
      [3n, 3n],
    ]
    for (const [position, [name, operate]] of IDS.entries()) {
      await server.within((vault) => {
        operate(vault)
        // Before the first one is on disk.
        operate(vault)
      })
      t.same(amounts(), expected[position], name)
      await server.killedAndStarted()
      await server.within((vault) => operate(vault))
      t.same(amounts(), expected[position], `${name}, after a crash`)
    }
    for (const [, operate] of IDS) await server.within((vault) => operate(vault))
    t.same(amounts(), [3n, 3n])
  },
)

t.test(
  'an operation id is remembered for operationRetentionMs, then it is as new and takes no room',
  async (t) => {
    for (const [retentionMs, options] of [
      [24 * HOUR_MS, {}],
      [72 * HOUR_MS, { operationRetentionMs: 72 * HOUR_MS }],
      [60_000, { operationRetentionMs: 60_000 }],
    ] as const) {
      const server = new Virtual(t, options)
      await server.pass(1_000)
      const deposited = async () => {
        await server.within((vault) => vault.deposit(DIAMOND, 10, { operationId: 'op-1' }))
        return vaultOf(server.node).quantity(DIAMOND)
      }
      await deposited()
      await server.later(retentionMs / 2)
      await server.killedAndStarted()
      t.equal(await deposited(), 10n, 'remembered over half of the time, and a crash')
      await server.later(retentionMs / 2 - 10_000)
      t.equal(await deposited(), 10n, 'a repetition does not prolong it')
      await server.later(20_000)
      t.equal(await deposited(), 20n, `forgotten after ${retentionMs} ms`)
      t.equal(server.keptIds(), 1)
      await server.later(retentionMs + HOUR_MS)
      await server.pass(HOUSEKEEPING_MS)
      t.equal(server.keptIds(), 0, 'its cell is gone')
    }
    for (const operationRetentionMs of [0, 999, 1_000.5, Number.POSITIVE_INFINITY]) {
      const start = MeshNode.start({ clusterId: 'c', serverId: 's', secret: SECRET, operationRetentionMs })
      await t.rejects(start, { code: 'CONFIG_INVALID' }, String(operationRetentionMs))
    }
  },
)

/** A server that sees ten diamonds and has the rights to none: these are with the server a, out of reach. */
async function cutOff(t: Test): Promise<MeshNode> {
  const { a, b } = await new TestMesh(t).linked({ a: {}, b: {} })
  vaultOf(a).deposit(DIAMOND, 10)
  await until(() => vaultOf(b).quantity(DIAMOND) === 10n)
  b.setCut(['a'])
  await until(() => b.status().links === 0)
  return b
}

t.test('one id is one withdrawal, in whatever way it is asked for', async (t) => {
  const b = await cutOff(t)
  const named = { operationId: 'op-1' }
  const once = { ...named, mode: 'backed', timeoutMs: 60_000 } as const
  const waiting = vaultOf(b).withdraw(DIAMOND, 4, once)
  const underWay = { code: 'CONFLICT', message: /op-1 is still under way/ }
  t.throws(() => vaultOf(b).withdrawNow(DIAMOND, 4, named), underWay)
  t.throws(() => vaultOf(b).tryWithdraw(DIAMOND, 4, named), underWay)
  t.throws(() => vaultOf(b).deposit(DIAMOND, 4, named), underWay)
  t.throws(() => vaultOf(b).batch([{ item: DIAMOND, deposit: 4 }], named), underWay)
  await t.rejects(vaultOf(b).withdraw(DIAMOND, 4, named), underWay)
  await t.rejects(vaultOf(b).withdraw(DIAMOND, 4, once), underWay)
  b.setCut([])
  t.equal((await waiting).kind, 'backed')
  t.equal(vaultOf(b).withdrawNow(DIAMOND, 4, named).kind, 'backed')
  t.equal(vaultOf(b).tryWithdraw(DIAMOND, 4, named)?.kind, 'backed')
  t.equal((await vaultOf(b).withdraw(DIAMOND, 4, named)).kind, 'backed')
  t.throws(() => vaultOf(b).tryWithdraw(DIAMOND, 3, named), { code: 'CONFLICT' })
  t.equal(vaultOf(b).quantity(DIAMOND), 6n, 'taken once')
})

t.test('a provisional withdrawal is given again as it stands', async (t) => {
  const b = await cutOff(t)
  const named = { operationId: 'op-1' }
  const first = vaultOf(b).withdrawNow(DIAMOND, 4, named)
  t.equal(first.kind, 'provisional')
  for (const again of [
    vaultOf(b).withdrawNow(DIAMOND, 4, named),
    vaultOf(b).tryWithdraw(DIAMOND, 4, named)!,
    await vaultOf(b).withdraw(DIAMOND, 4, { ...named, mode: 'backed' }),
  ]) {
    t.equal(again.kind, 'provisional')
    t.equal(again.id, first.id)
  }
  t.equal(vaultOf(b).quantity(DIAMOND), 6n)
  b.setCut([])
  t.equal(await vaultOf(b).withdrawNow(DIAMOND, 4, named).settled, 'confirmed')
})

t.test('an operation that is refused leaves nothing behind under its id', async (t) => {
  const server = new Virtual(t, {})
  await server.pass(1_000)
  await server.within((vault) => {
    vault.deposit(DIAMOND, 3)
    for (let attempt = 0; attempt < 20; attempt++) {
      const named = { operationId: `op-${attempt}` }
      t.equal(vault.tryWithdraw(DIAMOND, 5, named), undefined)
      t.throws(() => vault.withdrawNow(DIAMOND, 5, named), { code: 'INSUFFICIENT_QUANTITY' })
      t.throws(() => vault.batch([{ item: DIAMOND, withdraw: 5 }], named), { code: 'INSUFFICIENT_RIGHTS' })
      vault.withdraw(DIAMOND, 5, named).catch(() => undefined)
    }
  })
  t.equal(server.keptIds(), 0)
  await server.within((vault) => vault.tryWithdraw(DIAMOND, 2, { operationId: 'op-1' }))
  t.equal(vaultOf(server.node).quantity(DIAMOND), 1n, 'the id was still free')
})

t.test('another server knows an operation id once it has seen what was done under it', async (t) => {
  const mesh = new TestMesh(t)
  const { a, b } = await mesh.linked({ a: {}, b: {} })
  vaultOf(a).deposit(DIAMOND, 10, { operationId: 'op-1' })
  await until(() => vaultOf(b).quantity(DIAMOND) === 10n)
  vaultOf(b).deposit(DIAMOND, 10, { operationId: 'op-1' })
  t.equal(vaultOf(b).quantity(DIAMOND), 10n)
  t.throws(() => vaultOf(b).deposit(DIAMOND, 9, { operationId: 'op-1' }), { code: 'CONFLICT' })
  t.throws(() => vaultOf(b).deposit(STICK, 10, { operationId: 'op-1' }), { code: 'CONFLICT' })
  b.storage('bank').deposit(DIAMOND, 1, { operationId: 'op-1' })
  t.equal(b.storage('bank').quantity(DIAMOND), 1n, 'each storage has ids of its own')
})

t.test(
  'who cannot back a withdrawal says how many there are, its own rights, and who has the others',
  async (t) => {
    const mesh = new TestMesh(t)
    const { a, b, c } = await mesh.linked({ a: {}, b: {}, c: {} })
    vaultOf(a).deposit(DIAMOND, 2)
    vaultOf(b).deposit(DIAMOND, 7)
    vaultOf(c).deposit(DIAMOND, 4)
    await until(() => [a, b, c].every((node) => vaultOf(node).quantity(DIAMOND) === 13n))
    c.setCut(['a', 'b'])
    await until(() => c.status().links === 0)
    const holders = [
      ['b', 7n],
      ['a', 2n],
    ]
    const expected = {
      code: 'INSUFFICIENT_RIGHTS',
      message: /5 minecraft:diamond is not backed: 13 are visible, .* 4; other servers: b: 7, a: 2$/,
      requested: 5n,
      visible: 13n,
      ownRights: 4n,
      holders,
    }
    await t.rejects(vaultOf(c).withdraw(DIAMOND, 5, { mode: 'backed', timeoutMs: 50 }), expected)
    t.throws(() => vaultOf(c).batch([{ item: DIAMOND, withdraw: 5 }]), expected)
    t.equal(vaultOf(c).quantity(DIAMOND), 13n, 'nothing was taken')
    t.equal(vaultOf(c).tryWithdraw(DIAMOND, 4)?.kind, 'backed')
    await t.rejects(vaultOf(c).withdraw(DIAMOND, 1, { mode: 'backed', timeoutMs: 50 }), {
      code: 'INSUFFICIENT_RIGHTS',
      visible: 9n,
      ownRights: 0n,
      holders,
    })
  },
)

t.test('a batch over two storages: all of it or nothing, whichever part cannot be', async (t) => {
  const server = new Virtual(t, {})
  await server.pass(1_000)
  await server.within((vault) => {
    vault.deposit(DIAMOND, 100)
    server.node.storage('bank').deposit(STICK, 100)
  })
  const amounts = () => [
    vaultOf(server.node).quantity(DIAMOND),
    vaultOf(server.node).quantity(STICK),
    server.node.storage('bank').quantity(DIAMOND),
    server.node.storage('bank').quantity(STICK),
  ]
  const swap = (diamonds: number, sticks: number) => [
    { item: DIAMOND, withdraw: diamonds },
    { item: DIAMOND, deposit: diamonds, storage: 'bank' },
    { item: STICK, withdraw: sticks, storage: 'bank' },
    { item: STICK, deposit: sticks },
  ]
  await server.within((vault) => {
    t.throws(() => vault.batch(swap(101, 100)), InsufficientRightsError)
    t.throws(() => vault.batch(swap(100, 101)), { code: 'INSUFFICIENT_RIGHTS', ownRights: 100n })
    t.throws(() => vault.batch([...swap(1, 1), { item: 'bad', deposit: 1 }]), { code: 'INVALID_ARGUMENT' })
    t.throws(() => vault.batch([...swap(1, 1), { item: STICK, deposit: 1, storage: ' ' }]), {
      code: 'INVALID_ARGUMENT',
    })
  })
  t.same(amounts(), [100n, 0n, 0n, 100n])
  await server.within((vault) => vault.batch(swap(1, 1)))
  t.same(amounts(), [99n, 1n, 1n, 99n])
  // Killed between the call and the disk, or later.
  for (let step = 0; step < KILLS; step++) {
    server.call((vault) => vault.batch(swap(1, 1)))
    await server.pass(step * KILL_STEP_MS)
    await server.killedAndStarted()
    const [diamonds, sticks, bankDiamonds, bankSticks] = amounts() as [bigint, bigint, bigint, bigint]
    t.same(
      [diamonds + bankDiamonds, sticks + bankSticks],
      [100n, 100n],
      `killed at step ${step}: nothing is lost`,
    )
    t.equal(diamonds, bankSticks, 'both exchanges or none')
  }
  const kept = 99n - vaultOf(server.node).quantity(DIAMOND)
  t.ok(kept > 0n && kept < KILLS, `${kept} of ${KILLS} were on disk in time`)
})
