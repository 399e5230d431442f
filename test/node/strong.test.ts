import t from 'tap'
import { ConflictError, type MeshNode, type SyncEvent } from '../../src/index.js'
import { RAFT, TestMesh, until } from './mesh.js'

function voters(node: MeshNode): string[] {
  return (node.raft()?.peers ?? []).filter(({ voter }) => voter).map(({ serverId }) => serverId)
}

/** Resolves when a local read of each node shows the anchor. */
async function present(nodes: MeshNode[], id: string): Promise<void> {
  for (const node of nodes) {
    while ((await node.anchors.get(id)) === undefined) await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

const at = (x: number) => ({ storage: 'vault', world: 'overworld', position: { x, y: 64, z: 0 } })

t.test('anchors and transfers exist everywhere or nowhere', async (t) => {
  const mesh = new TestMesh(t)
  const [a, b, c] = await mesh.voters()
  const events: SyncEvent[] = []
  c.on('event', (event) => events.push(event))
  const one = await a.anchors.create(at(1))
  const two = await b.anchors.create(at(2))
  await t.rejects(c.anchors.create(at(1)), ConflictError, 'one anchor per position')
  const transfer = await c.transfers.create({
    from: one.id,
    to: two.id,
    items: ['minecraft:cobblestone'],
    rate: 5,
  })
  await t.rejects(a.anchors.delete(one.id), ConflictError, 'a live transfer uses it')
  await present([a, b, c], two.id)
  await until(() => events.length >= 3)
  t.same(
    events.filter(({ entityType }) => entityType !== 'server').map(({ type, entityId }) => [type, entityId]),
    [
      ['ANCHOR_CREATED', one.id],
      ['ANCHOR_CREATED', two.id],
      ['TRANSFER_CREATED', transfer.id],
    ],
  )

  t.test('a transfer has one owner, and another takes over when it stops', async (t) => {
    const owners = () => [a, b, c].filter((node) => node.ownedTransfers.has(transfer.id))
    await until(() => owners().length === 1)
    const [owner] = owners() as [MeshNode]
    await owner.stop()
    await until(() => [a, b, c].some((node) => node !== owner && node.ownedTransfers.has(transfer.id)))
    const rest = [a, b, c].filter((node) => node !== owner)
    const deleted = await rest[0]!.anchors.delete(one.id, { cascade: true })
    t.ok(deleted === undefined || typeof deleted === 'object')
    await until(() => rest.every((node) => node.ownedTransfers.size === 0))
  })
})

t.test('a lock is held by one at a time, with rising fencing tokens', async (t) => {
  const mesh = new TestMesh(t)
  const nodes = await mesh.voters()
  let inside = 0
  const tokens: bigint[] = []
  await Promise.all(
    nodes.flatMap((node) =>
      [1, 2, 3].map(() =>
        node.executeAtomic(
          'auction:17',
          async ({ fencingToken }) => {
            inside += 1
            t.equal(inside, 1)
            tokens.push(BigInt(fencingToken))
            await new Promise((resolve) => setTimeout(resolve, 2))
            inside -= 1
          },
          { timeoutMs: 20_000 },
        ),
      ),
    ),
  )
  t.equal(tokens.length, 9)
  t.same(
    tokens,
    [...tokens].sort((left, right) => (left < right ? -1 : 1)),
    'each token is above the one before',
  )
})

t.test('a recovered server that stays alone is the whole group, also after a restart', async (t) => {
  const mesh = new TestMesh(t)
  const [a, b, c] = await mesh.voters()
  const peers = [b.address, c.address]
  const kept = await b.anchors.create(at(1))
  await present([a], kept.id)
  await Promise.all([b.stop(), c.stop()])
  await a.stop()
  const cutOff = await mesh.start('a', { peers, raft: RAFT })
  await t.rejects(cutOff.anchors.create(at(2), { timeoutMs: 1_500 }), { code: 'NO_QUORUM' })
  await cutOff.stop()
  const recovered = await mesh.start('a', { peers, raft: RAFT, recoverRaft: 'accept-data-loss' })
  await recovered.anchors.create(at(2), { timeoutMs: 20_000 })
  await recovered.stop()
  const alone = await mesh.start('a', { peers, raft: RAFT })
  await alone.anchors.create(at(3), { timeoutMs: 20_000 })
  t.same(voters(alone), ['a'])
  t.equal((await alone.anchors.list()).entries.length, 3)
})

t.test(
  'without a majority strong operations say so, and deposits go on; a restart finds everything',
  async (t) => {
    const mesh = new TestMesh(t)
    const [a, b, c] = await mesh.voters()
    const anchor = await a.anchors.create(at(1))
    await present([b, c], anchor.id)
    a.setCut(['b', 'c'])
    await until(() => a.raft()!.leader === undefined)
    await t.rejects(a.anchors.create(at(9), { timeoutMs: 200 }), { code: 'NO_QUORUM', indeterminate: false })
    a.storage('vault').deposit('minecraft:diamond', 3)
    t.equal(a.storage('vault').quantity('minecraft:diamond'), 3n)
    const two = await b.anchors.create(at(2), { timeoutMs: 20_000 })
    t.equal(await a.anchors.get(two.id), undefined, 'a local read may be behind')
    a.setCut([])
    await present([a], two.id)
    await until(() => c.storage('vault').quantity('minecraft:diamond') === 3n)
    t.ok(await c.anchors.get(two.id, { linearizable: true }))
    await c.stop()
    const again = await mesh.start('c', { peers: [a.address], raft: RAFT })
    t.ok(await again.anchors.get(anchor.id), 'known before anybody was asked')
    const third = await again.anchors.create(at(3), { timeoutMs: 20_000 })
    await present([a], third.id)
    await t.rejects(mesh.start('d', { peers: [a.address], found: true, recoverRaft: 'accept-data-loss' }), {
      code: 'CONFIG_INVALID',
    })
  },
)
