import t from 'tap'
import { CellKind } from '../../src/crdt/cell.js'
import { MAX_GENERATION_CHANGES } from '../../src/crdt/own-writes.js'
import { Partition } from '../../src/crdt/partition.js'
import type { Scheduler } from '../../src/environment/environment.js'
import { MemoryJournal } from '../../src/journal/memory-journal.js'
import { Committer, type CommitterPorts } from '../../src/node/committer.js'

/** Runs what was put off only when told to. */
class ManualScheduler implements Scheduler {
  readonly tasks: (() => void)[] = []

  after(): { cancel: () => void } {
    return { cancel: () => undefined }
  }

  soon(task: () => void): void {
    this.tasks.push(task)
  }

  /** Until nothing is left; returns how many ran. */
  run(): number {
    let count = 0
    for (let task = this.tasks.shift(); task; task = this.tasks.shift()) {
      task()
      count += 1
    }
    return count
  }
}

/** One partition and its journal in memory; `committed` gets the number of cells of each delta. */
function setUp(options: Pick<CommitterPorts, 'maxSealedGenerations'> = {}) {
  const scheduler = new ManualScheduler()
  const partition = new Partition('')
  partition.writeAs('a@01')
  const committed: number[] = []
  const committer: Committer = new Committer({
    journal: () => journal,
    partitions: new Map([['', partition]]),
    soon: (task) => scheduler.soon(task),
    nextRecord: () => ({ id: 'record-1', expiresAtMs: 1 }),
    committed: (_, deltas) => committed.push(...deltas.map(({ delta }) => delta.cells.length)),
    ...options,
  })
  const journal = new MemoryJournal(scheduler, { onDurable: (position) => committer.durable(position) })
  return { scheduler, partition, committer, committed }
}

t.test('writes that outrun the journal are refused until it has caught up', async (t) => {
  const { scheduler, partition, committer, committed } = setUp({ maxSealedGenerations: 2 })
  const items = partition.table.namespace(CellKind.counter, 'vault')
  let written = 0
  while (!committer.isOverloaded) {
    partition.own.deposit(partition.table.entry(items, `a:item_${written}`), 1)
    committer.groupOf(partition)
    written += 1
  }
  t.equal(written, 2 * MAX_GENERATION_CHANGES + 1)
  scheduler.run()
  t.notOk(committer.isOverloaded)
  t.equal(
    committed.reduce((sum, count) => sum + count, 0),
    written,
  )
  t.equal(partition.ownReplica.known, written)
})

t.test('a group asked for without a write holds up no later one', async (t) => {
  const { scheduler, partition, committer } = setUp()
  t.ok(committer.groupOf(partition).durable.reached, 'there is nothing to wait for')
  scheduler.run()
  partition.own.deposit(partition.table.entry(partition.table.namespace(CellKind.counter, 'vault'), 'a:b'), 1)
  const group = committer.groupOf(partition)
  scheduler.run()
  t.ok(group.durable.reached)
  t.equal(committer.groupOf(partition), group, 'the newest write has landed with it')
})

t.test(
  'writes of one turn are one number a cell, and none is durable before the journal says so',
  async (t) => {
    const { scheduler, partition, committer } = setUp()
    const entry = partition.table.entry(partition.table.namespace(CellKind.counter, 'vault'), 'a:b')
    for (let count = 0; count < 100; count++) partition.own.deposit(entry, 1)
    const group = committer.groupOf(partition)
    t.notOk(group.durable.reached)
    t.equal(partition.deltaSince('a@01', 0, 1000), undefined, 'nothing to send yet')
    scheduler.run()
    t.ok(group.durable.reached)
    t.equal(partition.ownReplica.known, 1)
    t.equal(partition.deltaSince('a@01', 0, 1000)?.cells.length, 1)
  },
)
