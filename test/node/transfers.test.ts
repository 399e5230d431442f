import t from 'tap'
import type { MeshNode, TransferProgress } from '../../src/index.js'
import { converged, RAFT, TestMesh, until } from './mesh.js'

const at = (storage: string, x: number) => ({ storage, world: 'overworld', position: { x, y: 64, z: 0 } })

function progress(nodes: MeshNode[], id: string): TransferProgress | undefined {
  for (const node of nodes) for (const run of node.transferProgress()) if (run.transferId === id) return run
  return undefined
}

t.test(
  'a transfer moves items wherever they were deposited, and another server goes on with it',
  async (t) => {
    const mesh = new TestMesh(t)
    const nodes = await mesh.voters()
    const [a, b] = nodes
    const mine = await a.anchors.create(at('mine', 1))
    const vault = await a.anchors.create(at('vault', 2))
    // Rights to the items begin on three servers; one of them owns the transfer.
    for (const node of nodes) node.storage('mine').deposit('minecraft:iron_ore', 200)
    a.storage('mine').deposit('minecraft:dirt', 10)
    const changes = b.storage('vault').changes()
    const transfer = await b.transfers.create({
      from: mine.id,
      to: vault.id,
      items: ['minecraft:*_ore'],
      rate: 5_000,
    })
    const first = await changes.next()
    t.equal(first.value.item, 'minecraft:iron_ore')
    await changes.return?.()
    const owner = () => nodes.find((node) => node.ownedTransfers.has(transfer.id))
    await until(() => a.storage('vault').quantity('minecraft:iron_ore') >= 300n)
    const before = owner()!
    t.equal(progress(nodes, transfer.id)!.transferId, transfer.id)
    t.ok(before.status().transfers.moved >= 200n && before.status().transfers.owned === 1)
    await before.stop()
    const rest = nodes.filter((node) => node !== before)
    await until(() => rest.some((node) => node.ownedTransfers.has(transfer.id)))
    // What the stopped server holds the rights to waits for it; what the others hold goes on moving.
    rest[0]!.storage('mine').deposit('minecraft:gold_ore', 7)
    await until(() => rest.every((node) => node.storage('vault').quantity('minecraft:gold_ore') === 7n))
    await until(() => converged(...rest))
    for (const node of rest) {
      const held = ['mine', 'vault'].map((storage) => node.storage(storage).quantity('minecraft:iron_ore'))
      t.equal(held[0]! + held[1]!, 600n)
      t.equal(node.storage('mine').quantity('minecraft:dirt'), 10n)
      t.equal(node.storage('vault').quantity('minecraft:dirt'), 0n)
    }
    for await (const entry of rest[0]!.audit()) t.equal(entry.rightsSum, entry.quantity)
  },
)

t.test('changes of a transfer and of its anchors take effect at once', async (t) => {
  const mesh = new TestMesh(t)
  const node = await mesh.start('a', { found: true, raft: RAFT })
  await until(() => node.raft()?.role === 'leader')
  const mine = await node.anchors.create(at('mine', 1))
  const vault = await node.anchors.create(at('vault', 2))
  const { id } = await node.transfers.create({
    from: mine.id,
    to: vault.id,
    items: ['*'],
    enabled: false,
    rate: 1_000,
  })
  const holds = (storage: string) => node.storage(storage).quantity('ore:iron')
  const state = () => progress([node], id)?.state
  node.storage('mine').deposit('ore:iron', 100)
  await until(() => state() === 'disabled')
  t.equal(holds('vault'), 0n)
  await node.transfers.update(id, { enabled: true })
  await until(() => holds('vault') === 100n)
  await until(() => state() === 'idle')

  await node.anchors.update(vault.id, { storage: 'mine' })
  await until(() => state() === 'same-storage')
  node.storage('mine').deposit('ore:iron', 10)
  await node.anchors.update(vault.id, { storage: 'bank' })
  await until(() => holds('bank') === 10n)
  t.equal(progress([node], id)!.moved, 110n)

  await node.transfers.update(id, { items: ['ore:gold'] })
  node.storage('mine').deposit('ore:iron', 5)
  node.storage('mine').deposit('ore:gold', 5)
  await until(() => node.storage('bank').quantity('ore:gold') === 5n)
  t.equal(holds('mine'), 5n)
  await node.anchors.delete(mine.id, { cascade: true })
  await until(() => node.transferProgress().length === 0)
  node.storage('mine').deposit('ore:gold', 5)
  await node.flush()
  t.equal(node.storage('bank').quantity('ore:gold'), 5n)
  t.same(node.status().transfers, { owned: 0, moved: 115n })
})

t.test('runTransfers: false leaves the items to the application', async (t) => {
  const mesh = new TestMesh(t)
  const node = await mesh.start('a', { found: true, raft: RAFT, runTransfers: false })
  await until(() => node.raft()?.role === 'leader')
  const from = await node.anchors.create(at('mine', 1))
  const to = await node.anchors.create(at('vault', 2))
  node.storage('mine').deposit('ore:iron', 10)
  const { id } = await node.transfers.create({ from: from.id, to: to.id, items: ['*'] })
  await until(() => node.ownedTransfers.has(id))
  t.equal(progress([node], id)!.state, 'left-to-application')
  const { signal } = node.ownedTransfers.get(id)!
  node.storage('mine').batch([
    { item: 'ore:iron', withdraw: 4 },
    { item: 'ore:iron', deposit: 4, storage: 'vault' },
  ])
  await node.flush()
  t.equal(node.storage('vault').quantity('ore:iron'), 4n)
  await node.transfers.delete(id)
  await until(() => signal.aborted)
})
