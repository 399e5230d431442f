import t from 'tap'
import {
  AbortedError,
  ConflictError,
  InsufficientRightsError,
  InvalidArgumentError,
  LevelNotReachedError,
  type MeshNode,
  NotRunningError,
  ReadLevelNotReachedError,
} from '../../src/index.js'
import { TestMesh, until } from './mesh.js'

const ITEM = 'minecraft:diamond'

async function three(mesh: TestMesh): Promise<[MeshNode, MeshNode, MeshNode]> {
  const worlds = ['nether']
  const { a, b, c } = await mesh.linked({ a: { worlds }, b: { worlds }, c: {} })
  return [a, b, c]
}

t.test('a read at a level sees what had reached it, wherever it was written', async (t) => {
  const mesh = new TestMesh(t)
  const nodes = await three(mesh)
  const [a, b, c] = nodes
  for (let round = 1; round <= 30; round++) {
    const writer = nodes[round % 3]!
    const reader = nodes[(round + 1) % 3]!
    await writer.storage('vault').deposit(ITEM, 1).reached('QUORUM')
    t.equal(await reader.storage('vault').read(ITEM, { level: 'QUORUM' }), BigInt(round))
  }
  await a.storage('vault').deposit(ITEM, 1).durable
  t.equal(await c.storage('vault').read(ITEM, { level: 'STRONG' }), 31n, 'STRONG: on any disk')
  t.same(await c.storage('vault').readItems({ level: 'STRONG' }), [{ item: ITEM, quantity: 31n }])
  t.equal(await b.storage('vault').read(ITEM, { level: 'LOCAL' }), b.storage('vault').quantity(ITEM))

  const forge = { world: 'nether' }
  await a.storage('forge', forge).deposit(ITEM, 5).reached('QUORUM')
  t.equal(await b.storage('forge', forge).read(ITEM, { level: 'QUORUM' }), 5n, 'among those that host it')

  const many = Array.from({ length: 2_000 }, () => b.storage('vault').read(ITEM, { level: 'QUORUM' }))
  t.ok((await Promise.all(many)).every((quantity) => quantity === 31n))

  // c alone is a minority; the majority goes on.
  for (const node of [a, b]) node.setCut(['c'])
  c.setCut(['a', 'b'])
  await until(() => c.status().links === 0)
  await a.storage('vault').deposit(ITEM, 1).reached('QUORUM')
  t.equal(await b.storage('vault').read(ITEM, { level: 'QUORUM' }), 32n)
  const refused = (level: 'QUORUM' | 'STRONG', node: MeshNode) =>
    node
      .storage('vault')
      .read(ITEM, { level, timeoutMs: 50 })
      .catch((error: unknown) => error)
  const error = await refused('QUORUM', c)
  t.ok(error instanceof ReadLevelNotReachedError)
  t.match(error, {
    answered: 1,
    needed: 2,
    retryable: true,
    indeterminate: false,
    code: 'READ_LEVEL_NOT_REACHED',
  })
  t.match(await refused('STRONG', b), { answered: 2, needed: 3 })
  t.equal(await c.storage('vault').read(ITEM, { level: 'LOCAL' }), 31n)

  const late = c.storage('vault').read(ITEM, { level: 'QUORUM' })
  for (const node of nodes) node.setCut([])
  t.equal(await late, 32n, 'it goes on when the mesh heals')

  const abort = new AbortController()
  c.setCut(['a', 'b'])
  await until(() => c.status().links === 0)
  const aborted = c.storage('vault').read(ITEM, { level: 'STRONG', signal: abort.signal })
  abort.abort()
  await t.rejects(aborted, AbortedError)
  await t.rejects(c.storage('vault').read(ITEM, { level: 'STRONG', signal: abort.signal }), AbortedError)
  const stopped = c.storage('vault').read(ITEM, { level: 'QUORUM' })
  const rejected = t.rejects(stopped, NotRunningError)
  await c.stop()
  await rejected
  await t.rejects(c.storage('vault').read(ITEM, { level: 'QUORUM' }), NotRunningError)
})

t.test('a read whose level makes no sense is refused', async (t) => {
  const mesh = new TestMesh(t)
  const node = await mesh.startInMemory('a')
  const vault = node.storage('vault')
  vault.deposit(ITEM, 3)
  t.equal(await vault.read(ITEM, { level: 'STRONG' }), 3n, 'alone, there is nobody to ask')
  for (const options of [
    undefined,
    {},
    { level: 'EVENTUAL' },
    { level: 'LOCAL', x: 1 },
    { level: 'QUORUM', timeoutMs: -1 },
  ])
    await t.rejects(vault.read(ITEM, options as never), InvalidArgumentError)
  await t.rejects(vault.read('No', { level: 'LOCAL' }), InvalidArgumentError)
})

t.test('withdrawals at a level', async (t) => {
  const mesh = new TestMesh(t)
  const [a, b, c] = await three(mesh)
  await a.storage('vault').deposit(ITEM, 100).reached('STRONG')
  const strong = await b.storage('vault').withdraw(ITEM, 30, { level: 'STRONG' })
  t.equal(strong.kind, 'backed', 'the rights were borrowed first')
  t.equal(await c.storage('vault').read(ITEM, { level: 'QUORUM' }), 70n)
  const local = await b.storage('vault').withdraw(ITEM, 1, { level: 'LOCAL' })
  t.equal(local.state, 'durable')
  t.equal(await c.storage('vault').read(ITEM, { level: 'STRONG' }), 69n)
  t.ok((await b.storage('vault').withdraw(ITEM, 1, { level: 'STRONG', simulate: true })).isSimulated)
  await t.rejects(
    b.storage('vault').withdraw(ITEM, 1, { level: 'STRONG', mode: 'optimistic' }),
    InvalidArgumentError,
  )
  await t.rejects(b.storage('vault').withdraw(ITEM, 1, { level: 'MOST' as never }), InvalidArgumentError)

  c.setCut(['a', 'b'])
  await until(() => c.status().links === 0)
  const once = { operationId: 'trade-1', timeoutMs: 50 } as const
  const error = await c
    .storage('vault')
    .withdraw(ITEM, 2, { ...once, level: 'QUORUM' })
    .catch((thrown: unknown) => thrown)
  t.ok(error instanceof LevelNotReachedError)
  t.match(error, { reached: 1, needed: 2, indeterminate: true })
  t.equal(c.storage('vault').quantity(ITEM), 67n, 'it stands')
  await t.rejects(
    c.storage('vault').withdraw(ITEM, 2, { level: 'STRONG', timeoutMs: 50 }),
    InsufficientRightsError,
  )
  t.equal(c.storage('vault').quantity(ITEM), 67n, 'nothing was taken')
  await t.rejects(c.storage('vault').withdraw(ITEM, 2, { ...once, level: 'STRONG' }), ConflictError)
  c.setCut([])
  const again = await c.storage('vault').withdraw(ITEM, 2, { ...once, level: 'QUORUM', timeoutMs: 5_000 })
  t.equal(await again.settled, 'confirmed')
  t.equal(await a.storage('vault').read(ITEM, { level: 'STRONG' }), 67n, 'once')
})
