import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { nodeOptions, parseConfig } from '../../src/cli/config-file.js'
import { controlMethods } from '../../src/cli/control-methods.js'
import { serveControl } from '../../src/cli/control-server.js'
import { exitCodeOf } from '../../src/cli/exit-codes.js'
import { FOUNDING_NAME } from '../../src/cli/founding.js'
import { createRealEnvironment } from '../../src/environment/real-environment.js'
import { MeshNode, manualResolver, NoQuorumError, OutcomeUnknownError } from '../../src/index.js'
import type { MeshNodeOptions } from '../../src/node/config.js'
import { coreOf } from '../../src/simulation/core-of.js'
import { silentLogger } from '../../src/sync/logger.js'
import { silo, temporaryDirectory } from './harness.js'
import { Running } from './running.js'

const RAFT = { heartbeatMs: 20, electionMs: 200, voterGraceMs: 60_000 }
const SECRET = new Uint8Array(32).fill(7)
const environment = createRealEnvironment()

/** A node in this process that answers the control socket of its directory. */
async function serveNode(t: Test, dataDir: string, options: Partial<MeshNodeOptions>) {
  const node = await MeshNode.start({
    clusterId: 'sky',
    serverId: 'one',
    secret: SECRET,
    dataDir,
    listen: { host: '127.0.0.1', port: 0 },
    heartbeatIntervalMs: 100,
    syncIntervalMs: 100,
    raft: RAFT,
    ...options,
  })
  const control = await serveControl(dataDir, controlMethods(node, environment.scheduler), silentLogger)
  t.teardown(async () => {
    await control.close()
    await node.stop()
  })
  return node
}

async function json(words: readonly string[]): Promise<Record<string, never>> {
  const { exitCode, stdout, stderr } = await silo([...words, '--json'])
  if (exitCode !== 0) throw new Error(`${words.join(' ')}: exit code ${exitCode}: ${stderr}`)
  return JSON.parse(stdout)
}

async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await new Promise((resolve) => setTimeout(resolve, 20))
}

t.test('what is certain and what is not have exit codes of their own', async (t) => {
  t.equal(exitCodeOf(new NoQuorumError('')), 75)
  t.equal(exitCodeOf(new OutcomeUnknownError('')), 75)
})

t.test('anchors and transfers from the command line', async (t) => {
  const home = await temporaryDirectory(t)
  const node = await serveNode(t, home, { found: true })
  await until(() => node.raft()?.role === 'leader')
  const here = ['--data-dir', home]
  const one = await json(['anchor', 'create', 'vault', '--world', 'overworld', '--at=-1,64,0', ...here])
  t.match(one, { storage: 'vault', position: { x: -1, y: 64, z: 0 }, created_by: 'one', metadata: {} })
  const place = ['--world', 'overworld', '--at', '2,64,0']
  const facts = ['--metadata', 'owner=ann', '--metadata', 'slots=27', '--metadata', 'open=true']
  const two = await json(['anchor', 'create', 'larder', ...place, ...facts, ...here])
  t.strictSame(two.metadata, { open: true, owner: 'ann', slots: 27 })
  const taken = await silo(['anchor', 'create', 'x', ...place, ...here])
  t.match(taken, { exitCode: 77, stdout: '', stderr: /taken by anchor/ })
  const retry = ['anchor', 'create', 'larder', ...place, ...facts, '--id', String(two.id), ...here]
  t.equal((await json(retry)).id, two.id, 'the same id again makes one anchor')

  const transfer = await json([
    'transfer',
    'create',
    one.id!,
    two.id!,
    '--item',
    'minecraft:*_ore',
    '--rate',
    '9',
    ...here,
  ])
  t.match(transfer, { from: one.id, to: two.id, items: ['minecraft:*_ore'], rate: 9 })
  t.match(await silo(['anchor', 'delete', one.id!, ...here]), {
    exitCode: 77,
    stderr: new RegExp(transfer.id!),
  })
  t.match(await json(['anchor', 'list', '--storage', 'larder', ...here]), { anchors: [{ id: two.id }] })
  t.match(await json(['anchor', 'list', ...here]), { anchors: [{ id: one.id }, { id: two.id }] })
  t.match(await json(['anchor', 'show', two.id!, '--linearizable', ...here]), two)
  t.match(await json(['transfer', 'list', '--anchor', one.id!, ...here]), {
    transfers: [{ id: transfer.id }],
  })
  node.storage('vault').deposit('minecraft:iron_ore', 5)
  await until(() => node.storage('larder').quantity('minecraft:iron_ore') === 5n)
  t.match(await json(['transfer', 'show', transfer.id!, ...here]), {
    id: transfer.id,
    owner: 'one',
    moved: '5',
    waiting_for_rights: 0,
  })
  t.match(await silo(['transfer', 'show', transfer.id!, ...here]), {
    exitCode: 0,
    stdout: /run by +one\n(.*\n)*moved +5 since one took it over/,
  })
  t.match(await silo(['transfer', 'list', ...here]), { exitCode: 0, stdout: /one *│ (moving|idle) *│ 5 / })
  t.match(await silo(['transfer', 'show', one.id!, ...here]), { exitCode: 77, stderr: /no transfer/ })
  for (const command of [
    ['anchor', 'list'],
    ['anchor', 'show', one.id!],
    ['transfer', 'list'],
    ['raft', 'peers'],
  ])
    t.match(await silo([...command, ...here]), { exitCode: 0, stderr: '' }, command.join(' '))

  t.strictSame(await json(['transfer', 'delete', transfer.id!, ...here]), { id: transfer.id, deleted: true })
  t.match(await silo(['transfer', 'delete', transfer.id!, ...here]), { exitCode: 77, stderr: /no transfer/ })
  await json(['anchor', 'delete', one.id!, ...here])
  t.match(await silo(['anchor', 'show', one.id!, ...here]), { exitCode: 77, stdout: '', stderr: /no anchor/ })

  const bad = [
    ['anchor', 'create', 'vault', '--world', 'overworld', '--at', '1,2', ...here],
    ['anchor', 'create', 'vault', '--at', '1,2,3', ...here],
    ['anchor', 'create', 'vault', '--world', 'overworld', '--at', '1,2,9999999999', ...here],
    ['anchor', 'create', 'vault', '--world', 'overworld', '--at', '1,2,3', '--metadata', '=x', ...here],
    ['anchor', 'show', 'nonsense', ...here],
    ['transfer', 'create', two.id!, two.id!, '--item', 'a:b', ...here],
    ['transfer', 'create', one.id!, two.id!, ...here],
    ['transfer', 'create', one.id!, two.id!, '--item', 'a:b', '--rate', '0', ...here],
    ['conflict', 'resolve', 'x', 'perhaps', ...here],
    ['raft', 'transfer', ...here],
  ]
  for (const words of bad)
    t.match(await silo(words), { exitCode: 64, stdout: '' }, words.slice(0, -2).join(' '))
  t.match(await silo(['raft', 'transfer', 'nobody', ...here]), { exitCode: 77, stderr: /voters: one/ })
})

t.test('leadership is handed over; without a majority the command says so and what to do', async (t) => {
  const root = await temporaryDirectory(t)
  const [a, b] = [`${root}/a`, `${root}/b`]
  const one = await serveNode(t, a, { found: true })
  const two = await serveNode(t, b, { serverId: 'two', peers: [one.address] })
  await serveNode(t, `${root}/c`, { serverId: 'three', peers: [one.address] })
  const voters = (node: MeshNode) => node.raft()?.peers.filter(({ voter }) => voter).length
  await until(() => voters(one) === 3 && voters(two) === 3)
  t.match(await json(['raft', 'peers', '--data-dir', a]), {
    leader: 'one',
    peers: [{ server_id: 'one' }, { voter: true }, { voter: true }],
  })
  t.match(await json(['raft', 'transfer', 'two', '--data-dir', a]), { leader: 'two' })
  await until(() => one.raft()?.leader === 'two' && one.raft()?.role === 'follower')

  const anchor = await json(['anchor', 'create', 'vault', '--world', 'w', '--at', '0,0,0', '--data-dir', a])
  one.setCut(['two', 'three'])
  await until(() => one.raft()?.leader === undefined)
  const cut = await silo([
    'anchor',
    'create',
    'vault',
    '--world',
    'w',
    '--at',
    '0,0,1',
    '--timeout-ms',
    '200',
    '--data-dir',
    a,
  ])
  t.match(cut, { exitCode: 75, stdout: '', stderr: /silo-mesh raft peers/ })
  t.match(
    await json(['anchor', 'show', anchor.id!, '--data-dir', a]),
    { id: anchor.id },
    'a local read goes on',
  )
  const show = ['anchor', 'show', anchor.id!, '--linearizable', '--timeout-ms', '200', '--data-dir', a]
  t.match(await silo(show), { exitCode: 75, stdout: '' }, 'a linearizable one does not')
})

t.test('withdrawals: backed or provisional, parked, decided, acknowledged', async (t) => {
  const root = await temporaryDirectory(t)
  const [a, b] = [`${root}/a`, `${root}/b`]
  const one = await serveNode(t, a, { resolver: manualResolver() })
  const two = await serveNode(t, b, { serverId: 'two', peers: [one.address], resolver: manualResolver() })
  const item = 'minecraft:diamond'
  await one.storage('vault').deposit(item, 10).reached('STRONG')
  const withdraw = (home: string, amount: string, ...words: string[]) => [
    'storage',
    'withdraw',
    'vault',
    item,
    amount,
    '--data-dir',
    home,
    ...words,
  ]
  t.match(await json(withdraw(a, '1')), { kind: 'backed', withdrawal_id: null, quantity: '9' })
  one.setCut(['two'])
  await until(() => one.status().links === 0 && two.status().links === 0)
  const refused = await silo(withdraw(b, '9', '--mode', 'backed', '--timeout-ms', '50'))
  t.match(refused, { exitCode: 75, stdout: '', stderr: /one: [19]/ }, 'says who holds the rights')
  t.match(await json(withdraw(a, '9', '--mode', 'backed')), { kind: 'backed', quantity: '0' })
  const provisional = await json(withdraw(b, '4'))
  t.match(provisional, { kind: 'provisional', withdrawal_id: /-7/ })
  t.match(await silo(withdraw(b, '5')), { exitCode: 0, stdout: /provisional .*compensation list/ })
  one.setCut([])
  await until(() => two.conflicts().length === 2)
  const id = String(provisional.withdrawal_id)
  const there = ['--data-dir', b]
  const { conflicts } = await json(['conflict', 'list', ...there])
  t.match(conflicts, [
    { id, server_id: 'two', storage: 'vault', item, amount: '4', state: 'parked' },
    { amount: '5' },
  ])
  t.match(await silo(['conflict', 'resolve', id, 'keep', '--data-dir', a]), {
    exitCode: 77,
    stderr: /the server that made/,
  })
  t.strictSame(await json(['conflict', 'resolve', id, 'keep', ...there]), { id, decision: 'keep' })
  const other = String((conflicts![1] as { id: string }).id)
  t.match(await silo(['conflict', 'resolve', other, 'compensate', ...there]), {
    exitCode: 0,
    stdout: /acknowledge/,
  })
  t.match(await silo(['conflict', 'list', ...there]), { exitCode: 0, stderr: /no open conflicts/ })
  t.match(await json(['compensation', 'list', ...there]), {
    compensations: [{ id: other, amount: '5', state: 'compensated' }],
  })
  t.strictSame(await json(['compensation', 'acknowledge', other, ...there]), {
    id: other,
    acknowledged: true,
  })
  t.match(await silo(['compensation', 'acknowledge', other, ...there]), { exitCode: 77 })
  t.strictSame(await json(['compensation', 'list', ...there]), { compensations: [] })

  const audit = ['audit', '--data-dir', a]
  await until(async () => (await silo(audit)).exitCode === 0)
  t.match(await silo(audit), { exitCode: 0, stdout: /two +│ equal[\s\S]*balanced/ })
  t.match(await json(audit), {
    outcome: 'balanced',
    servers: [
      { server_id: 'one', state: 'self', books: { items: 1, wrong: [] } },
      { server_id: 'two', state: 'equal', differences: [], undecided: [], books: { items: 1, wrong: [] } },
    ],
  })
  one.setCut(['two'])
  await until(() => one.status().links === 0 && two.status().links === 0)
  const apart = await silo([...audit, '--json'])
  t.equal(apart.exitCode, 75)
  t.match(JSON.parse(apart.stdout), {
    outcome: 'incomplete',
    servers: [{}, { state: 'unreachable', books: null }],
  })
  one.setCut([])
  await until(() => one.status().links === 1)
  const { table } = coreOf(two).partition('')!
  table.addToTotal(table.namespace(0, 'vault').entries.get(item)!, 1)
  const wrong = await silo(audit)
  t.match(wrong, {
    exitCode: 1,
    stdout: /two: vault \S+: deposited[\s\S]*mismatch/,
    stderr: /keep the data directories/,
  })
})

t.test('init founds the strong group at the first start and never again', async (t) => {
  const home = await temporaryDirectory(t)
  const here = ['--data-dir', `${home}/one`]
  await silo(['init', '--cluster', 'sky', '--server', 'one', '--listen', '127.0.0.1:0', ...here])
  const mark = `${home}/one/${FOUNDING_NAME}`
  t.ok(existsSync(mark))
  const first = new Running(t, ['join', '--json', ...here])
  await first.next()
  await until(() => !existsSync(mark))
  const { group_id: groupId } = await json(['raft', 'peers', ...here])
  const anchor = await json(['anchor', 'create', 'vault', '--world', 'w', '--at', '0,0,0', ...here])
  first.child.kill('SIGKILL')
  await first.exit

  await writeFile(mark, 'as if the kill had come before the mark was gone')
  const second = new Running(t, ['join', '--json', ...here])
  await second.next()
  await until(() => !existsSync(mark))
  await until(async () => (await json(['raft', 'peers', ...here])).leader === 'one')
  t.equal((await json(['raft', 'peers', ...here])).group_id, groupId, 'the same group')
  t.match(await json(['anchor', 'show', anchor.id!, '--linearizable', ...here]), { id: anchor.id })

  t.match(await silo(['raft', 'recover', '--accept-data-loss', ...here]), { exitCode: 75, stderr: /in use/ })
  second.child.kill('SIGTERM')
  t.equal(await second.exit, 0)
  t.match(await silo(['raft', 'recover', ...here]), {
    exitCode: 64,
    stdout: '',
    stderr: /lost: anchors.*--accept-data-loss/s,
  })
})

t.test('a voter that is left alone recovers, and says what was given up', async (t) => {
  const root = await temporaryDirectory(t)
  const home = `${root}/one`
  await silo(['init', '--cluster', 'sky', '--server', 'one', '--listen', '127.0.0.1:0', '--data-dir', home])
  await writeFile(`${home}/mesh.key`, Buffer.from(SECRET).toString('hex'))
  const text = {
    cluster_id: 'sky',
    server_id: 'one',
    secret_file: 'mesh.key',
    listen: { host: '127.0.0.1', port: 0 },
  }
  const config = nodeOptions(home, parseConfig(home, JSON.stringify(text)))
  const one = await MeshNode.start({ ...config, found: true, raft: RAFT })
  const two = await serveNode(t, `${root}/two`, { serverId: 'two', peers: [one.address] })
  const three = await serveNode(t, `${root}/three`, { serverId: 'three', peers: [one.address] })
  await until(() => one.raft()?.peers.filter(({ voter }) => voter).length === 3)
  const anchor = await one.anchors.create({ storage: 'vault', world: 'w', position: { x: 1, y: 2, z: 3 } })
  await Promise.all([two.stop(), three.stop()])
  await one.stop()

  const recovered = await silo(['raft', 'recover', '--accept-data-loss', '--data-dir', home])
  t.match(recovered, {
    exitCode: 0,
    stdout: /only voter, epoch 2.*Given up as voters: three, two.*silo-mesh join/s,
  })
  const again = await MeshNode.start({ ...config, raft: RAFT })
  t.teardown(() => again.stop())
  t.match(await again.anchors.get(anchor.id), { id: anchor.id }, 'what it had is there')
})
