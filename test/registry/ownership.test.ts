import fc from 'fast-check'
import t, { type Test } from 'tap'
import { ownerKey, TRANSFER_PREFIX } from '../../src/registry/keys.js'
import type { Transfer } from '../../src/registry/transfer.js'
import type { OwnedTransfer } from '../../src/registry/transfer-ownership.js'
import { MAX_USES_PER_LEASE } from '../../src/strong/lease-pool.js'
import { RegistryMesh, type RegistryServer } from './mesh.js'

async function withTransfers(count: number, names: readonly string[]): Promise<RegistryMesh> {
  const mesh = new RegistryMesh()
  for (const name of names) mesh.server(name)
  await createTransfers(mesh, count)
  return mesh
}

/** Between two anchors, by the first server. */
async function createTransfers(mesh: RegistryMesh, count: number): Promise<Transfer[]> {
  const { anchors, transfers } = mesh.servers[0]!
  const at = (x: number) => ({ storage: 's', world: 'w', position: { x, y: 0, z: 0 } })
  const [from, to] = [await mesh.settle(anchors.create(at(1))), await mesh.settle(anchors.create(at(2)))]
  const input = { from: from.id, to: to.id, items: ['*'] }
  return mesh.settle(Promise.all(Array.from({ length: count }, () => transfers.create(input))))
}

const shares = (servers: readonly RegistryServer[]) => servers.map(({ ownership }) => ownership.owned().size)

/** Transfers that two servers think they own at this moment. */
function ownedTwice(servers: readonly RegistryServer[]): string[] {
  const seen = new Set<string>()
  const twice: string[] = []
  for (const { ownership } of servers) {
    for (const id of ownership.owned().keys()) {
      if (seen.has(id)) twice.push(id)
      seen.add(id)
    }
  }
  return twice
}

function sharedOut(t: Test, { servers }: RegistryMesh, count: number): void {
  const owned = shares(servers)
  t.equal(
    owned.reduce((sum, share) => sum + share),
    count,
  )
  t.ok(Math.max(...owned) <= Math.ceil(count / servers.length), String(owned))
  t.same(ownedTwice(servers), [])
}

t.test('transfers are shared out, taken over, and given back', async (t) => {
  const mesh = await withTransfers(20, ['a', 'b', 'c'])
  const [a, b, c] = mesh.servers as [RegistryServer, RegistryServer, RegistryServer]
  await mesh.pass(3_000)
  sharedOut(t, mesh, 20)

  const held = [...c.ownership.owned().values()]
  const keptThen = held.map(({ transfer, signal }) => {
    const kept = { atAbort: false }
    signal.addEventListener('abort', () => {
      kept.atAbort = mesh.group.machine.get(ownerKey(transfer.id)) !== undefined
    })
    return kept
  })
  c.store.cut = true
  await mesh.pass(2_800)
  t.same(
    held.map(({ signal }) => signal.aborted),
    held.map(() => true),
    'it stops by its own clock',
  )
  t.equal(c.ownership.owned().size, 0)
  t.ok(
    keptThen.every(({ atAbort }) => atAbort),
    'before the group gives them to others',
  )
  mesh.live = ['a', 'b']
  await mesh.pass(4_000)
  t.same(shares(mesh.servers), [10, 10, 0])
  for (const { transfer, fencingToken } of held) {
    const now = a.ownership.owned().get(transfer.id) ?? b.ownership.owned().get(transfer.id)
    t.ok(now!.fencingToken > fencingToken)
  }

  c.store.heal('snapshot')
  mesh.live = ['a', 'b', 'c']
  await mesh.pass(5_000)
  sharedOut(t, mesh, 20)
  await mesh.settle(a.stop())
  mesh.live = ['b', 'c']
  await mesh.pass(2_000)
  t.same(shares(mesh.servers), [0, 10, 10], 'at once, without waiting for a lease to end')
})

t.test('changes and deletions reach the owner', async (t) => {
  const mesh = await withTransfers(1, ['a', 'b'])
  await mesh.pass(2_000)
  const owner = mesh.servers.find(({ ownership }) => ownership.owned().size === 1)!
  const [id, owned] = [...owner.ownership.owned()][0] as [string, OwnedTransfer]
  const told: string[] = []
  owner.ownership.on('updated', ({ transfer }) => told.push(`rate ${transfer.rate}`))
  owner.ownership.on('lost', ({ transferId }) => told.push(`lost ${transferId}`))
  owner.ownership.on('updated', () => {
    throw new Error('holds nobody back')
  })
  await mesh.settle(mesh.servers[0]!.transfers.update(id, { rate: 7 }))
  await mesh.pass(100)
  t.equal(owner.ownership.owned().get(id)!.fencingToken, owned.fencingToken)
  await mesh.settle(mesh.servers[0]!.transfers.delete(id))
  await mesh.pass(100)
  t.same(told, ['rate 7', `lost ${id}`])
  t.equal(owned.signal.aborted, true)
  t.same(mesh.keys('transfer-owner/'), [])
})

t.test("a claim of unknown outcome that takes effect is the claimer's", async (t) => {
  for (const fault of ['unknown-done', 'unknown-late', 'unknown-lost'] as const) {
    const mesh = new RegistryMesh()
    mesh.group.fault = (_, command) =>
      command.kind === 'transact' &&
      command.success.some((o) => o.kind === 'put' && o.key.startsWith('transfer-owner/'))
        ? fault
        : 'none'
    const a = mesh.server('a')
    await createTransfers(mesh, 1)
    await mesh.pass(3_000)
    t.equal(a.ownership.owned().size, fault === 'unknown-lost' ? 0 : 1, fault)
    mesh.group.fault = () => 'none'
    await mesh.pass(5_000)
    t.equal(a.ownership.owned().size, 1)
  }
})

t.test('a transfer that is deleted beside a claim gets no owner', async (t) => {
  const mesh = new RegistryMesh()
  mesh.group.fault = (_, command) =>
    command.kind === 'transact' &&
    command.success.some((operation) => operation.kind === 'put' && operation.lease !== 0)
      ? 'refused'
      : 'none'
  const [a, b] = [mesh.server('a'), mesh.server('b')]
  const [transfer] = await createTransfers(mesh, 1)
  await mesh.pass(100)
  b.store.hear = () => undefined
  await mesh.settle(a.transfers.delete(transfer!.id))
  mesh.group.fault = () => 'none'
  await mesh.pass(3_000)
  t.same(mesh.keys('transfer-owner/'), [])
  t.equal(b.ownership.owned().size, 0)
})

t.test('more than one lease has room for', async (t) => {
  const count = MAX_USES_PER_LEASE + 50
  const mesh = await withTransfers(count, ['a'])
  await mesh.pass(5_000)
  t.equal(mesh.servers[0]!.ownership.owned().size, count)
  const leases = new Set(mesh.keys('transfer-owner/').map((key) => mesh.group.machine.get(key)!.lease))
  t.equal(leases.size, 2)
})

t.test('random histories: never two owners, tokens grow, and in the end everything has one', async () => {
  const step = fc.record({
    server: fc.nat(2),
    disturb: fc.constantFrom('none', 'cut', 'entries', 'snapshot', 'create', 'delete', 'live'),
    fault: fc.constantFrom('none', 'refused', 'unknown-done', 'unknown-lost', 'unknown-late' as const),
    gapMs: fc.nat(1_500),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
      const mesh = await withTransfers(7, ['a', 'b', 'c'])
      mesh.group.delayMs = () => 1 + mesh.world.uniform() * 30
      const tokens = new Map<string, bigint>()
      const broken: string[] = []
      for (const { ownership } of mesh.servers) {
        ownership.on('acquired', ({ transfer, fencingToken }) => {
          if ((tokens.get(transfer.id) ?? 0n) > fencingToken) broken.push('a token went back')
          tokens.set(transfer.id, fencingToken)
          broken.push(...ownedTwice(mesh.servers).map((id) => `${id} has two owners`))
        })
      }
      for (const { server, disturb, fault, gapMs } of steps) {
        const { store, transfers } = mesh.servers[server]!
        mesh.group.fault = () => (mesh.world.uniform() < 0.3 ? (fault as 'none') : 'none')
        const some = mesh.keys(TRANSFER_PREFIX)[server]?.slice(TRANSFER_PREFIX.length)
        if (disturb === 'cut') store.cut = true
        else if (disturb === 'entries' || disturb === 'snapshot') store.heal(disturb)
        else if (disturb === 'live') mesh.live = ['a', 'b', 'c'].filter((_, i) => i !== server)
        else if (disturb === 'delete' && some) transfers.delete(some).catch(() => undefined)
        else if (disturb === 'create' && some) {
          const { from, to } = (await transfers.get(some)) ?? { from: some, to: '' }
          transfers.create({ from, to, items: ['*'] }).catch(() => undefined)
        }
        await mesh.pass(gapMs)
      }
      mesh.group.fault = () => 'none'
      mesh.live = ['a', 'b', 'c']
      for (const { store } of mesh.servers) store.heal('entries')
      await mesh.pass(20_000)
      const total = mesh.keys(TRANSFER_PREFIX).length
      const had = shares(mesh.servers)
      if (had.reduce((sum, share) => sum + share) !== total) broken.push(`${had} of ${total}`)
      if (had.some((share) => share > Math.ceil(total / 3))) broken.push(`unfair: ${had}`)
      if (mesh.keys('transfer-owner/').length !== total) broken.push('an owner without a transfer')
      if (broken.length > 0) throw new Error(broken.join('; '))
    }),
    { numRuns: 25, endOnFailure: true },
  )
})
