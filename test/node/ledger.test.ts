import t from 'tap'
import {
  ConfigError,
  DiskFullError,
  InsufficientQuantityError,
  InsufficientRightsError,
  InvalidArgumentError,
  JournalFailedError,
  type LedgerEntry,
  type LedgerLine,
  type LedgerOptions,
  type MeshNode,
} from '../../src/index.js'
import type { Ledger } from '../../src/ledger/ledger.js'
import { MAX_LINES_UNDER_WAY, OperationRecorder } from '../../src/node/operation-recorder.js'
import { WriteGroup } from '../../src/node/write-group.js'
import { RAFT, TestMesh, until } from './mesh.js'

const ITEM = 'minecraft:diamond'
const LEDGER = { ledger: {} }

async function linesOf(node: MeshNode, options: LedgerOptions = {}): Promise<LedgerEntry[]> {
  const lines: LedgerEntry[] = []
  for await (const entry of node.ledger(options)) lines.push(entry)
  return lines
}

t.test('what is done on a server is written down: who, what, and how it ended', async (t) => {
  const mesh = new TestMesh(t)
  const a = await mesh.start('a', { ...LEDGER, worlds: ['nether'] })
  const vault = a.storage('vault')
  const before = Date.now()
  vault.deposit(ITEM, 100, { by: 'player:steve' })
  await vault.deposit(ITEM, 5, { operationId: 'op-1', by: 'hopper' }).durable
  await vault.deposit(ITEM, 5, { operationId: 'op-1', by: 'hopper' }).durable
  vault.tryWithdraw(ITEM, 30, { by: 'player:alex' })
  t.equal(vault.tryWithdraw(ITEM, 3_000), undefined)
  await a.storage('end', { world: 'nether' }).deposit(ITEM, 2n ** 100n).durable
  vault.batch(
    [
      { item: ITEM, withdraw: 2 },
      { item: 'minecraft:stick', deposit: 1, storage: 'chest' },
    ],
    { by: 'recipe', operationId: 'op-2' },
  )
  t.throws(() => vault.withdrawNow(ITEM, 1_000, { by: 'thief' }), InsufficientQuantityError)
  await t.rejects(vault.withdraw(ITEM, 2_000, { by: 'thief' }), InsufficientQuantityError)
  t.throws(() => vault.batch([{ item: ITEM, withdraw: 5_000 }], { by: 'thief' }), InsufficientRightsError)
  await vault.withdraw(ITEM, 1, { simulate: true })
  for (const by of ['', 'a\tb', 5])
    t.throws(() => vault.deposit(ITEM, 1, { by: by as string }), InvalidArgumentError)
  t.throws(() => vault.batch([{ item: ITEM, withdraw: -1 }]), InvalidArgumentError)
  await a.flush()

  const lines = await linesOf(a)
  const common = { storage: 'vault', item: ITEM, world: undefined, outcome: 'durable', group: 0 }
  const refused = { outcome: 'refused', by: 'thief', type: 'withdraw' }
  // Refusals wait for no disk: the order of lines is that in which they were certain.
  const sorted = lines.filter(({ type }) => type !== 'gap').sort((left, right) => left.timeMs - right.timeMs)
  t.match(
    sorted.filter((entry) => entry.type !== 'gap' && entry.outcome === 'durable'),
    [
      { ...common, type: 'deposit', amount: 100n, by: 'player:steve', kind: undefined },
      { ...common, type: 'deposit', amount: 5n, by: 'hopper', operationId: 'op-1' },
      { ...common, type: 'withdraw', amount: 30n, by: 'player:alex', kind: 'backed' },
      { ...common, storage: 'end', world: 'nether', amount: 2n ** 100n, by: undefined },
      { ...common, type: 'withdraw', amount: 2n, by: 'recipe', operationId: 'op-2', group: 1 },
      { type: 'deposit', storage: 'chest', item: 'minecraft:stick', amount: 1n, by: 'recipe', group: 1 },
    ],
  )
  t.match(await linesOf(a, { by: 'thief' }), [
    { ...refused, amount: 1_000n, code: 'INSUFFICIENT_QUANTITY' },
    { ...refused, amount: 2_000n, code: 'INSUFFICIENT_QUANTITY' },
    { ...refused, amount: 5_000n, code: 'INSUFFICIENT_RIGHTS' },
  ])
  t.equal(lines.length, 9, 'a repetition, a simulation and what is malformed are no operations')
  t.ok(lines.every(({ timeMs }) => timeMs >= before && timeMs <= Date.now()))
  t.match(await linesOf(a, { storage: 'chest' }), [{ item: 'minecraft:stick' }])
  t.match(await linesOf(a, { item: { id: ITEM }, limit: 1, by: 'hopper' }), [{ operationId: 'op-1' }])
  t.throws(() => a.ledger({ limit: 0 }), InvalidArgumentError)
  t.throws(() => a.ledger({ who: 'x' } as LedgerOptions), InvalidArgumentError)

  const following = a.ledger({ follow: true, limit: 1 })
  await following.next()
  const next = following.next()
  vault.deposit(ITEM, 7)
  t.match(await next, { value: { amount: 7n } })
  const end = following.next()
  await a.stop()
  t.match(await end, { done: true })
  const again = await mesh.start('a', { ...LEDGER, worlds: ['nether'] })
  t.equal((await linesOf(again)).length, 10, 'it is there after a restart, and says of no crash')
})

t.test('a provisional withdrawal is written down, and what becomes of it', async (t) => {
  const mesh = new TestMesh(t)
  const a = await mesh.start('a', LEDGER)
  const b = await mesh.startInMemory('b', { peers: [a.address], ...LEDGER })
  await until(() => a.status().links === 1 && b.status().links === 1)
  await a.storage('vault').deposit(ITEM, 10).reached('STRONG')
  await until(() => b.storage('vault').quantity(ITEM) === 10n)
  const withdrawal = await b.storage('vault').withdraw(ITEM, 4, { by: 'player:steve' })
  t.equal(withdrawal.kind, 'provisional')
  await withdrawal.settled
  const { id } = withdrawal
  t.match(await linesOf(b), [
    {
      type: 'withdraw',
      kind: 'provisional',
      withdrawalId: id,
      by: 'player:steve',
      outcome: 'durable',
      amount: 4n,
    },
    { type: 'settlement', withdrawalId: id, by: 'player:steve', outcome: 'confirmed', amount: 4n },
  ])
  t.match(await linesOf(a), [{ type: 'deposit' }], 'each server writes down what is done on it')
})

t.test('moves of a transfer are written down, both sides as one, by the server that made them', async (t) => {
  const mesh = new TestMesh(t)
  const node = await mesh.start('a', { ...LEDGER, found: true, raft: RAFT })
  await until(() => node.raft()?.role === 'leader')
  const at = (storage: string, x: number) => ({ storage, world: 'overworld', position: { x, y: 64, z: 0 } })
  const from = await node.anchors.create(at('mine', 1))
  const to = await node.anchors.create(at('vault', 2))
  const { id } = await node.transfers.create({ from: from.id, to: to.id, items: [ITEM], rate: 40 })
  node.storage('mine').deposit('minecraft:dirt', 5, { by: 'player:steve' })
  node.storage('mine').deposit(ITEM, 50, { by: 'player:steve' })
  await until(() => node.storage('vault').quantity(ITEM) === 50n)
  await node.flush()
  const by = `transfer:${id}`
  const moves = await linesOf(node, { by })
  const common = { item: ITEM, world: undefined, by, outcome: 'durable', operationId: undefined }
  const groups = new Set<number>()
  let moved = 0n
  for (let place = 0; place < moves.length; place += 2) {
    const [taken, put] = moves.slice(place, place + 2) as [LedgerLine, LedgerLine]
    const { amount, group } = taken
    t.match(taken, { ...common, type: 'withdraw', storage: 'mine', kind: 'backed' })
    t.match(put, { ...common, type: 'deposit', storage: 'vault', amount, group, kind: undefined })
    groups.add(group)
    moved += amount
  }
  t.equal(moved, 50n, 'all that was moved, and nothing twice')
  t.ok(
    groups.size > 1 && groups.size === moves.length / 2 && !groups.has(0),
    'each move is a group of its own',
  )
  t.equal((await linesOf(node)).length, moves.length + 2, 'and what the player brought')
})

t.test('without the option no ledger is kept, and bad bounds are refused', async (t) => {
  const mesh = new TestMesh(t)
  const node = await mesh.start('a')
  node.storage('vault').deposit(ITEM, 1, { by: 'player:steve' })
  t.throws(() => node.ledger(), ConfigError)
  for (const ledger of [{ retentionMs: 0 }, { maxBytes: 10 }, { more: 1 }])
    await t.rejects(mesh.start('b', { ledger }), ConfigError)
})

t.test(
  'a line waits for the group commit of its operation; what becomes of neither is counted',
  async (t) => {
    const recorded: string[] = []
    const ledger = {
      record: ({ item }: LedgerLine) => recorded.push(item),
      miss: (reason: string, lines: number) => recorded.push(`${reason} ${lines}`),
    }
    const recorder = new OperationRecorder(ledger as unknown as Ledger, {
      wallMs: () => 5,
      monotonicMs: () => 5,
    })
    const turn = () => new Promise((resolve) => setImmediate(resolve))
    const operation = (item: string) =>
      ({ type: 'deposit', storage: 'vault', world: undefined, item, amount: 1 }) as const
    const [first, second] = [new WriteGroup(), new WriteGroup()]
    recorder.made(operation('a'), undefined, first)
    recorder.made(operation('b'), { by: 'x' }, first)
    recorder.made(operation('c'), undefined, second)
    await turn()
    t.same(recorded, [])
    first.fail(new DiskFullError('no room'), false)
    await turn()
    t.same(recorded, [], 'it is tried again')
    first.durable.reach(undefined)
    await turn()
    t.same(recorded, ['a', 'b'])
    second.fail(new JournalFailedError('gone'), true)
    await turn()
    t.same(recorded, ['a', 'b', 'journal 1'])
    recorder.refused([operation('d')], undefined, new TypeError('a defect'))
    recorder.refused([operation('e')], undefined, new DiskFullError('no room'))
    t.same(recorded.slice(3), ['e'])
    const flood = new WriteGroup()
    for (let line = 0; line <= MAX_LINES_UNDER_WAY; line++) recorder.made(operation('f'), undefined, flood)
    t.same(recorded.slice(4), ['overload 1'])
  },
)
