import t from 'tap'
import type { MeshNode } from '../../src/index.js'
import { converged, TestMesh, until } from './mesh.js'

const ITEM = 'minecraft:diamond'

function entryOf(node: MeshNode) {
  const [entry, ...others] = node.audit()
  if (!entry || others.length > 0) throw new Error(`one item expected, ${others.length + 1} found`)
  return entry
}

t.test('an audit tells where items went, and rights always sum up to the quantity', async (t) => {
  const mesh = new TestMesh()
  t.teardown(() => mesh.close())
  const a = await mesh.start('a')
  const b = await mesh.start('b', { peers: [a.address] })
  await until(() => a.status().links === 1 && b.status().links === 1)
  t.same(a.audit(), [])
  await a.storage('vault').deposit(ITEM, 100).reached('STRONG')
  await a.storage('vault').withdraw(ITEM, 30)
  await until(() => b.storage('vault').quantity(ITEM) === 70n)

  // Rights are lent to and fro while this goes on; those that are under way are nobody's, and count.
  const taken = Array.from({ length: 20 }, async (_, turn) => {
    const withdrawal = await (turn % 2 === 0 ? a : b).storage('vault').withdraw(ITEM, 1)
    for (const node of [a, b]) t.equal(entryOf(node).rightsSum, entryOf(node).quantity)
    await withdrawal.settled
    for (const node of [a, b]) t.equal(entryOf(node).rightsSum, entryOf(node).quantity)
  })
  await Promise.all(taken)
  await until(() => converged(a, b))

  a.setCut(['b'])
  await until(() => a.status().links === 0 && b.status().links === 0)
  await a.storage('vault').withdraw(ITEM, 50)
  const provisional = await b.storage('vault').withdraw(ITEM, 50)
  t.equal(provisional.kind, 'provisional')
  t.match(entryOf(b), { storage: 'vault', world: undefined, item: ITEM, provisional: 50n, quantity: 0n })
  a.setCut([])
  await provisional.settled
  await until(() => converged(a, b) && [a, b].every((node) => entryOf(node).provisional === 0n))
  await Promise.all([a.flush(), b.flush()])
  await until(() => converged(a, b))
  const [left, right] = [entryOf(a), entryOf(b)]
  t.same(left, right, 'both agree on every number')
  t.equal(left.deposited - left.withdrawn + left.compensated, left.quantity)
  t.equal(left.compensated > 0n, (await provisional.settled) === 'compensated')
})
