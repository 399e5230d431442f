import t from 'tap'
import { Partition } from '../../src/crdt/partition.js'
import type { Scheduler } from '../../src/environment/environment.js'
import type { DigestMessage } from '../../src/gossip/messages.js'
import type { DurableState } from '../../src/node/durable-state.js'
import { FormerWrites } from '../../src/node/former-writes.js'
import { Writership } from '../../src/node/writership.js'
import { drawRunOptions } from '../../src/simulation/run/options.js'
import { simulate } from '../../src/simulation/run/simulate.js'
import { DiskFullError } from '../../src/sync/errors.js'

const OLD = 's1@0001'
const NEW = 's1@0002'
const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}

/** What s1 holds of its former incarnation arrives as a delta that ends at `to`. */
function arrive(partition: Partition, to: number): void {
  partition.merge({ partition: '', replica: OLD, from: 0, to, horizon: to, repair: false, cells: [] })
}

function digest(known: number): DigestMessage {
  const rows = [{ replica: OLD, first: known, second: 0 }]
  return {
    partitions: [{ partition: '', rows }],
    received: 0,
    afterGap: false,
    wantsReply: false,
    more: false,
  } as unknown as DigestMessage
}

/** s1 of the mesh s1, s2, s3, put back from a backup; `adopted`: that has writes without a number. */
function restored(adopted: boolean) {
  const partition = new Partition('')
  partition.writeAs(OLD)
  const timers: (() => void)[] = []
  const committer = {
    numberingHeld: true,
    holdNumbering: () => undefined,
    openNumbering: () => {
      committer.numberingHeld = false
    },
    // Journalled as the old incarnation.
    formerPartitions: () => new Set(adopted && partition.ownReplica.replica !== OLD ? [partition] : []),
  }
  const disk = { full: false }
  const durables = {
    committer,
    incarnation: { replica: OLD, starts: 2 },
    partitions: { byName: new Map([['', partition]]) },
    takeNewIncarnation: async () => {
      if (disk.full) throw new DiskFullError('the disk is full')
      partition.writeAs(NEW)
      return { replica: NEW, starts: 1 }
    },
  }
  const formerWrites = new FormerWrites('s1', () => ['s1', 's2', 's3'])
  formerWrites.graceIsOver()
  const scheduler = {
    soon: (task: () => void) => task(),
    after: (_: number, task: () => void) => {
      timers.push(task)
      return { cancel: () => undefined }
    },
  } as Scheduler
  const writership = new Writership({
    durables: durables as unknown as DurableState,
    formerWrites,
    logger: silent,
    scheduler,
    patienceMs: 4_000,
    isStopping: () => false,
    onMayVote: () => undefined,
    onIncarnation: () => undefined,
  })
  const hear = (server: string, known: number) => {
    formerWrites.heardFrom(server, digest(known))
    writership.progressed()
  }
  return { partition, committer, disk, writership, timers, hear }
}

t.test('a restored backup without unnumbered writes goes on when the patience ends', async (t) => {
  const { committer, writership, timers, hear } = restored(false)
  hear('s2', 21)
  writership.writesLost(OLD, 21, '')
  await new Promise(setImmediate)
  t.equal(committer.numberingHeld, true, 'the lost writes come back first')
  timers[0]?.()
  t.equal(committer.numberingHeld, false)
})

t.test('writes without a number wait until all have told how far the lost incarnation came', async (t) => {
  const { partition, committer, writership, timers, hear } = restored(true)
  hear('s2', 21)
  writership.writesLost(OLD, 21, '')
  await new Promise(setImmediate)
  arrive(partition, 21)
  writership.progressed()
  timers[0]?.()
  t.equal(committer.numberingHeld, true, 's3 may know that they were numbered as 22')
  hear('s3', 22)
  t.equal(committer.numberingHeld, true, 'and does')
  arrive(partition, 22)
  writership.progressed()
  t.equal(committer.numberingHeld, false)
})

t.test('a restart that has lost nothing waits for nobody else, unnumbered writes or not', async (t) => {
  const { committer, writership } = restored(true)
  writership.verified()
  t.equal(committer.numberingHeld, false)
})

t.test('a full disk delays a new incarnation until it has room', async (t) => {
  const { committer, disk, partition, writership } = restored(false)
  writership.journalRecovered()
  t.equal(partition.ownReplica.replica, OLD, 'which nobody has asked for')
  disk.full = true
  writership.outdated()
  await new Promise(setImmediate)
  writership.verified()
  t.equal(committer.numberingHeld, true, 'nothing is numbered as the old one')
  disk.full = false
  writership.journalRecovered()
  await new Promise(setImmediate)
  t.equal(partition.ownReplica.replica, NEW)
  t.equal(committer.numberingHeld, false)
})

t.test('seed 86220026243478: the one peer that knew of the numbered form was cut off', async (t) => {
  t.equal((await simulate(drawRunOptions(86220026243478, 'mixed'))).violation, undefined)
})

t.test(
  'seed 131936192324708 of workload withdrawals: a server that had lost its disk crashes later',
  async (t) => {
    // Its present incarnation had journalled what it waited for: no other one can have numbered that.
    t.equal((await simulate(drawRunOptions(131936192324708, 'withdrawals'))).violation, undefined)
  },
)
