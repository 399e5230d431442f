import t from 'tap'
import { type AuditEntry, type MeshNode, OverloadedError } from '../../src/index.js'
import type { GossipDriver } from '../../src/node/gossip-driver.js'
import { coreOf } from '../../src/simulation/core-of.js'
import { converged, TestMesh, until } from './mesh.js'

const ITEM = 'minecraft:diamond'

async function entriesOf(node: MeshNode): Promise<AuditEntry[]> {
  const entries: AuditEntry[] = []
  for await (const entry of node.audit()) entries.push(entry)
  return entries
}

async function entryOf(node: MeshNode): Promise<AuditEntry> {
  const [entry, ...others] = await entriesOf(node)
  if (!entry || others.length > 0) throw new Error(`one item expected, ${others.length + 1} found`)
  return entry
}

t.test('an audit tells where items went, and rights always sum up to the quantity', async (t) => {
  const mesh = new TestMesh(t)
  const { a, b } = await mesh.linked({ a: {}, b: {} })
  t.same(await entriesOf(a), [])
  await a.storage('vault').deposit(ITEM, 100).reached('STRONG')
  await a.storage('vault').withdraw(ITEM, 30)
  await until(() => b.storage('vault').quantity(ITEM) === 70n)

  const fits = ({ deposited, withdrawn, compensated, underWay, rightsSum, quantity }: AuditEntry) => {
    t.equal(deposited - withdrawn + compensated + underWay, quantity)
    t.equal(rightsSum, quantity)
  }
  // Rights are lent to and fro while this goes on; those that are under way are nobody's, and count.
  const taken = Array.from({ length: 20 }, async (_, turn) => {
    const withdrawal = await (turn % 2 === 0 ? a : b).storage('vault').withdraw(ITEM, 1)
    for (const node of [a, b]) fits(await entryOf(node))
    await withdrawal.settled
    for (const node of [a, b]) fits(await entryOf(node))
  })
  await Promise.all(taken)
  await until(() => converged(a, b))

  a.setCut(['b'])
  await until(() => a.status().links === 0 && b.status().links === 0)
  const first = await a.storage('vault').withdraw(ITEM, 50)
  const provisional = await b.storage('vault').withdraw(ITEM, 50)
  t.equal(provisional.kind, 'provisional')
  t.match(await entryOf(b), {
    storage: 'vault',
    world: undefined,
    item: ITEM,
    provisional: 50n,
    quantity: 0n,
  })
  a.setCut([])
  await provisional.settled
  while ((await entryOf(a)).provisional > 0n || (await entryOf(b)).provisional > 0n)
    await until(() => converged(a, b))
  await Promise.all([a.flush(), b.flush()])
  await until(() => converged(a, b))
  const [left, right] = [await entryOf(a), await entryOf(b)]
  t.same(left, right, 'both agree on every number')
  t.equal(left.deposited - left.withdrawn + left.compensated, left.quantity)
  const ends = await Promise.all([first.settled, provisional.settled])
  t.equal(left.compensated > 0n, ends.includes('compensated'))
})

t.test('an audit of the mesh is balanced while all write, and names who cannot be reached', async (t) => {
  const mesh = new TestMesh(t)
  const worlds = ['nether']
  const { a, b, c } = await mesh.linked({ a: { worlds }, b: { worlds }, c: {} })
  a.storage('vault', { world: 'nether' }).deposit(ITEM, 5)
  for (let item = 0; item < 300; item++) b.storage('vault').deposit(`test:item_${item}`, 2)
  let writing = true
  const writers = [a, b, c].map(async (node, offset) => {
    for (let turn = 0; writing; turn++) {
      for (let item = 0; item < 50; item++)
        node.storage('vault').deposit(`test:item_${(item * 7 + turn) % 300}`, 2)
      node.storage('vault').tryWithdraw(`test:item_${(turn * 3 + offset) % 300}`, 1)
      await node.storage('vault').deposit(ITEM, 1).durable
    }
  })
  const progress: number[] = []
  const audits = await Promise.all([
    a.auditMesh({ onProgress: ({ done }) => progress.push(done) }),
    b.auditMesh(),
    t.rejects(a.auditMesh(), OverloadedError, 'one at a time'),
  ])
  writing = false
  await Promise.all(writers)
  for (const audit of audits.slice(0, 2)) {
    t.match(audit, {
      outcome: 'balanced',
      servers: [{ state: 'self' }, { state: 'equal' }, { state: 'equal' }],
    })
  }
  t.same(
    (await a.auditMesh()).servers.map(({ serverId, books }) => [serverId, books?.items]),
    [
      ['a', 302],
      ['b', 302],
      ['c', 301],
    ],
  )

  c.setCut(['a', 'b'])
  await until(() => c.status().links === 0)
  t.match(await a.auditMesh(), {
    outcome: 'incomplete',
    servers: [
      {},
      { serverId: 'b', state: 'equal' },
      { serverId: 'c', state: 'unreachable', books: undefined },
    ],
  })
  await t.rejects(a.auditMesh({ signal: AbortSignal.abort() }), { code: 'ABORTED' })
  const aborted = new AbortController()
  const audit = t.rejects(a.auditMesh({ signal: aborted.signal }), { code: 'ABORTED' })
  aborted.abort()
  await audit
  const stopped = t.rejects(c.auditMesh(), { code: 'NOT_RUNNING' })
  await c.stop()
  await stopped
})

t.test(
  'what was changed behind the back of a server is found; one that does not answer holds nobody up',
  async (t) => {
    const mesh = new TestMesh(t)
    const { a, b } = await mesh.linked({ a: {}, b: {} })
    for (let item = 0; item < 2_000; item++) a.storage('vault').deposit(`test:item_${item}`, 5)
    await a.flush('STRONG')

    const { gossip } = coreOf(b) as unknown as { gossip: GossipDriver }
    const options = (gossip as unknown as { options: { onAuditMessage: unknown } }).options
    const { onAuditMessage } = options
    options.onAuditMessage = () => undefined
    t.match(await a.auditMesh({ timeoutMs: 1_500 }), {
      outcome: 'incomplete',
      servers: [{ state: 'self' }, { serverId: 'b', state: 'undecided', books: undefined }],
    })
    options.onAuditMessage = onAuditMessage

    const partition = coreOf(b).partition('')!
    const { table } = partition
    const [cell] = [...table.cellsOf(table.namespace(0, 'vault').entries.get('test:item_1234')!)]
    const value = table.counterValue(cell!)
    // The cell and everything that is derived from it: no sum of its own gives it away.
    table.mergeCounter(cell!, table.numberOf(cell!), { ...value, deposited: 6 })
    const found = await a.auditMesh()
    t.match(found, {
      outcome: 'mismatch',
      servers: [
        { books: { wrongCount: 0, altered: [] } },
        {
          state: 'differs',
          differences: [
            { world: undefined, items: [{ storage: 'vault', item: 'test:item_1234' }], others: 0 },
          ],
          books: { wrongCount: 0, altered: [{ world: undefined }] },
        },
      ],
    })
  },
)
