import t from 'tap'
import { CellKind } from '../../src/crdt/cell.js'
import { Partition } from '../../src/crdt/partition.js'
import type { Journal } from '../../src/journal/journal.js'
import { Committer } from '../../src/node/committer.js'
import { MeshNode } from '../../src/node/mesh-node.js'
import { Cluster } from '../../src/simulation/cluster/cluster.js'
import { DEFAULT_DISK_PROFILE } from '../../src/simulation/disk/store.js'
import { DEFAULT_PROFILE } from '../../src/simulation/network/conditions.js'
import { NotRunningError } from '../../src/sync/errors.js'

// Each of these was a seed that failed; the smallest scenario that shows it is kept here.

t.test('seed 101: numbering opens while unnumbered writes are on their way to the disk', async (t) => {
  const partition = new Partition('')
  partition.writeAs('s1@00000000000000000000000000000001')
  const turns: (() => void)[] = []
  let appended = 0
  const journal = {
    status: 'ok',
    pendingBytes: 0,
    append: (records: readonly Uint8Array[]) => {
      appended += records.length
      return appended
    },
  } as unknown as Journal
  const committer = new Committer({
    journal: () => journal,
    partitions: new Map([['', partition]]),
    soon: (task) => turns.push(task),
    nextRecord: () => ({ id: 'record-1', expiresAtMs: 1 }),
    committed: () => undefined,
  })
  const runTurns = () => {
    for (let task = turns.shift(); task !== undefined; task = turns.shift()) task()
  }
  committer.holdNumbering()
  const entry = partition.table.entry(partition.table.namespace(CellKind.counter, 'vault'), 'sim:item')
  partition.own.deposit(entry, 36)
  const group = committer.groupOf(partition)
  runTurns()
  t.equal(appended, 1, 'journalled without a number')
  committer.openNumbering()
  runTurns()
  committer.durable(appended)
  runTurns()
  t.notOk(committer.isIdle, 'the held write is being numbered, without waiting for another write')
  committer.durable(appended)
  t.ok(committer.isIdle)
  t.equal(partition.ownReplica.known, 2, 'the write and the id of its record')
  t.ok(group.numbered.reached)
})

t.test('seed 25: a flush that was asked for before the end does not reach a closed journal', async (t) => {
  const partition = new Partition('')
  partition.writeAs('s1@00000000000000000000000000000001')
  const turns: (() => void)[] = []
  const journal = {
    status: 'ok',
    pendingBytes: 0,
    append: () => {
      throw new NotRunningError('the journal is closed')
    },
  } as unknown as Journal
  const committer = new Committer({
    journal: () => journal,
    partitions: new Map([['', partition]]),
    soon: (task) => turns.push(task),
    nextRecord: () => ({ id: 'record-1', expiresAtMs: 1 }),
    committed: () => undefined,
  })
  const entry = partition.table.entry(partition.table.namespace(CellKind.counter, 'vault'), 'sim:item')
  partition.own.deposit(entry, 1)
  const group = committer.groupOf(partition)
  const outcome = group.durable.wait()
  committer.failed(new NotRunningError('the node stopped'), true)
  await t.rejects(outcome, NotRunningError)
  t.equal(turns.length, 1)
  t.doesNotThrow(() => turns[0]?.())
})

t.test('seed 2: a value set after one from the far future was seen wins over it, everywhere', async (t) => {
  const names = ['ahead', 'right']
  const cluster = new Cluster<MeshNode>(
    {
      seed: 1,
      names,
      network: DEFAULT_PROFILE,
      disk: DEFAULT_DISK_PROFILE,
      maxClockDrift: 0,
      maxWallOffsetMs: 0,
      record: false,
    },
    (server, environment) =>
      MeshNode.start({
        clusterId: 'clocks',
        serverId: names[server]!,
        secret: new Uint8Array(32),
        listen: { host: names[server]!, port: 7000 },
        peers: [`ws://${names[1 - server]}:7000`],
        environment,
      }),
    {
      running: () => undefined,
      gone: () => undefined,
      startFailed: (_, error) => t.fail('a node does not start', { error }),
      stopFailed: () => undefined,
      uncaught: (_, error) => t.fail('uncaught', { error }),
      diskReplaced: () => undefined,
      diskDamaged: () => undefined,
    },
  )
  const [ahead, right] = cluster.servers as [(typeof cluster.servers)[0], (typeof cluster.servers)[0]]
  ahead.machine.clock.jump(600_000)
  for (const server of cluster.servers) server.start()
  await cluster.pass(5_000)
  cluster.within(ahead, (node) => node.setState('motd', Uint8Array.of(1)))
  await cluster.pass(5_000)
  t.same(right.node?.getState('motd'), Uint8Array.of(1))
  cluster.within(right, (node) => node.setState('motd', Uint8Array.of(2)))
  await cluster.pass(5_000)
  t.same(right.node?.getState('motd'), Uint8Array.of(2))
  t.same(ahead.node?.getState('motd'), Uint8Array.of(2))
})
