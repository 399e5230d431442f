import t from 'tap'
import {
  MAX_PENDING_BYTES,
  MAX_RECORD_BYTES,
  REPLAY_BATCH_BYTES,
  REPLAY_BATCH_RECORDS,
} from '../../src/journal/journal.js'
import { MemoryJournal } from '../../src/journal/memory-journal.js'
import { openJournal } from '../../src/journal/open-journal.js'
import {
  DirectoryInUseError,
  DiskError,
  DiskFullError,
  InvalidArgumentError,
  JournalFailedError,
  NotRunningError,
  OverloadedError,
} from '../../src/sync/errors.js'
import { Turns } from './fake-disk.js'
import { decode, encode, World } from './world.js'

const FIRST = 'journal-0000000000000001.log'

/** Fails calls of one operation until told otherwise. */
function failing(world: World, operation: string, fault: 'ENOSPC' | 'EIO'): void {
  world.storage.fault = (called) => (called === operation ? fault : undefined)
}

async function turns(world: World, count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await world.turns.step()
}

t.test('what is added in one turn, or while a write flies, shares the next write', async (t) => {
  const world = new World()
  await world.open()
  let appends = 0
  world.storage.fault = (operation) => {
    if (operation === 'append') appends += 1
    return undefined
  }
  for (let round = 0; round < 10; round += 1) world.journal.append([encode(`first ${round}`)])
  await turns(world, 2)
  for (let round = 0; round < 10; round += 1) world.journal.append([encode(`second ${round}`)])
  t.equal(world.journal.durable, 0)
  await world.run(world.journal.whenDurable(5))
  t.equal(world.journal.durable, 10, 'the first write is complete, the second is not')
  await world.run(world.journal.whenDurable(20))
  t.equal(appends, 2)
})

t.test('positions: shared promises, out of order, done already, beyond the end', async (t) => {
  const world = new World()
  await world.open()
  t.equal(world.journal.append([]), 0)
  t.equal(world.journal.append([encode('a'), encode('b')]), 2)
  t.equal(world.journal.append([encode('c')]), 3)
  const order: number[] = []
  const waiting = [3, 1, 2, 3].map((position) =>
    world.journal.whenDurable(position).then(() => order.push(position)),
  )
  await t.rejects(world.journal.whenDurable(4), InvalidArgumentError)
  await t.rejects(world.journal.whenDurable(Number.NaN), InvalidArgumentError)
  await world.run(Promise.all(waiting))
  t.same(order.sort(), [1, 2, 3, 3])
  await world.journal.whenDurable(0)
  await world.journal.whenDurable(3)
})

t.test('a position is told when its own group is durable, in whatever order it was asked for', async (t) => {
  const world = new World()
  await world.open()
  world.journal.append([encode('a')])
  await turns(world, 2)
  world.journal.append([encode('b')])
  const told: number[] = []
  const waiting = [2, 1].map((position) =>
    world.journal.whenDurable(position).then(() => told.push(position)),
  )
  await world.run(waiting[1]!)
  t.same(told, [1])
  t.equal(world.journal.durable, 1)
  await world.run(waiting[0]!)
})

t.test('an append at whatever moment after the last write is written', async (t) => {
  for (let ticks = -1; ticks < 12; ticks += 1) {
    const world = new World()
    await world.open()
    const first = world.journal.append([encode('a')])
    const appended = world.journal.whenDurable(first).then(async () => {
      for (let tick = 0; tick < ticks; tick += 1) await null
      world.journal.append([encode('b')])
    })
    await world.run(appended)
    while (await world.turns.step());
    t.equal(world.journal.durable, 2, `after ${ticks} ticks`)
  }
})

t.test('bounds: a record, an append, all that waits', async (t) => {
  for (const journal of [await opened(), new MemoryJournal(new Turns())]) {
    t.throws(() => journal.append([new Uint8Array(MAX_RECORD_BYTES + 1)]), InvalidArgumentError)
    const half = new Array(31).fill(new Uint8Array(1024 * 1024))
    t.throws(() => journal.append([...half, ...half, ...half]), InvalidArgumentError)
    t.equal(journal.append(half), 31)
    t.equal(journal.append(half), 62)
    t.throws(() => journal.append(half), OverloadedError)
    t.equal(journal.appended, 62, 'nothing of a refused append is taken')
    t.ok(journal.pendingBytes <= MAX_PENDING_BYTES)
    t.equal(journal.append([new Uint8Array(1)]), 63, 'what fits is taken')
  }
})

async function opened() {
  const world = new World()
  await world.open()
  return world.journal
}

t.test('the largest record comes back, and replay comes in bounded batches, in order', async (t) => {
  const world = new World()
  await world.open()
  const largest = new Uint8Array(MAX_RECORD_BYTES).map((_, at) => at % 253)
  const small = Array.from({ length: 3000 }, (_, at) => encode(`record ${at}`))
  const middle = Array.from({ length: 20 }, (_, at) => new Uint8Array(60_000).fill(at))
  const all = [...small, largest, ...middle, ...small]
  await world.run(world.journal.whenDurable(world.journal.append(all)))
  world.crash(true)
  const batches: Uint8Array[][] = []
  const options = {
    environment: world.environment,
    directory: 'data',
    replay: async (records: readonly Uint8Array[]) => {
      batches.push(records.map((record) => record.slice()))
    },
  }
  await world.run(openJournal(options))
  t.ok(Buffer.concat(batches.flat()).equals(Buffer.concat(all)))
  t.equal(batches.flat().length, all.length)
  t.ok(batches.every((batch) => batch.length <= REPLAY_BATCH_RECORDS))
  const bytes = (batch: readonly Uint8Array[]) => batch.reduce((sum, record) => sum + record.length, 0)
  t.ok(batches.every((batch) => bytes(batch.slice(0, -1)) < REPLAY_BATCH_BYTES))
})

t.test('an error of the replay callback ends the opening and frees the directory', async (t) => {
  const world = new World()
  await world.open()
  await world.appendDurable('a')
  world.crash(false)
  const replay = () => Promise.reject(new Error('the owner cannot read this'))
  const opening = openJournal({ environment: world.environment, directory: 'data', replay })
  await t.rejects(world.run(opening), /cannot read/)
  t.same(decode((await world.open()).journal), ['a'])
})

t.test('one journal per directory', async (t) => {
  const world = new World()
  await world.open()
  const second = openJournal({ environment: world.environment, directory: 'data', replay: () => {} })
  await t.rejects(world.run(second), DirectoryInUseError)
  await world.run(world.journal.close())
  await world.open()
})

t.test(
  'disk full: nothing is acknowledged, nothing is lost, and it goes on when there is space',
  async (t) => {
    const world = new World()
    await world.open()
    await world.appendDurable('a')
    const good = world.file(FIRST).length
    failing(world, 'append', 'ENOSPC')
    const flying = world.journal.whenDurable(world.journal.append([encode('b')]))
    await t.rejects(world.run(flying), DiskFullError)
    t.equal(world.journal.status, 'full')
    t.equal(world.file(FIRST).length, good, 'the piece that was written is cut off again')
    await t.rejects(world.journal.beginSnapshot(), DiskFullError)

    let told = false
    const later = world.journal.whenDurable(world.journal.append([encode('c')])).then(() => {
      told = true
    })
    await turns(world, 100)
    t.notOk(told)
    t.equal(world.journal.durable, 1)
    world.storage.fault = () => undefined
    await world.run(later)
    t.equal(world.journal.durable, 3)
    t.same(world.statuses, ['full', 'ok'])
    world.crash(true)
    t.same(decode((await world.open()).journal), ['a', 'b', 'c'])
  },
)

t.test('disk full at closing: one more try, then the truth', async (t) => {
  for (const space of [true, false]) {
    const world = new World()
    await world.open()
    failing(world, 'append', 'ENOSPC')
    const position = world.journal.append([encode('a')])
    await t.rejects(world.run(world.journal.whenDurable(position)), DiskFullError)
    const waiting = world.journal.whenDurable(position)
    waiting.catch(() => undefined)
    if (space) world.storage.fault = () => undefined
    const closing = world.run(world.journal.close())
    if (space) await closing
    else await t.rejects(closing, DiskFullError)
    if (!space) await t.rejects(waiting, DiskFullError)
    t.equal(world.storage.locked, false, 'the directory is free')
    world.crash(true)
    t.same(decode((await world.open()).journal), space ? ['a'] : [])
  }
})

t.test('a failed write or sync is for good', async (t) => {
  for (const operation of ['append', 'sync']) {
    const world = new World()
    await world.open()
    await world.appendDurable('a')
    failing(world, operation, 'EIO')
    const position = world.journal.append([encode('b')])
    const waiting = world.journal.whenDurable(position)
    await t.rejects(world.run(waiting), { code: 'JOURNAL_FAILED', cause: DiskError })
    world.storage.fault = () => undefined
    t.equal(world.journal.status, 'failed')
    t.throws(() => world.journal.append([encode('c')]), JournalFailedError)
    await t.rejects(world.journal.whenDurable(position), JournalFailedError)
    await t.rejects(world.journal.beginSnapshot(), JournalFailedError)
    await world.journal.whenDurable(1)
    t.same(world.statuses, ['failed'])
    await t.rejects(world.run(world.journal.close()), JournalFailedError)
    t.equal(world.storage.locked, false)
  }
})

t.test('a snapshot replaces what was before it, while appends go on', async (t) => {
  const world = new World()
  await world.open()
  await world.appendDurable('a', 'b')
  world.journal.append([encode('c')])
  t.equal(world.journal.bytesSinceSnapshot, world.file(FIRST).length)
  const beginning = world.journal.beginSnapshot()
  world.journal.append([encode('d')])
  const writer = await world.run(beginning)
  await t.rejects(world.journal.beginSnapshot(), InvalidArgumentError)
  await t.rejects(world.run(writer.write([new Uint8Array(MAX_RECORD_BYTES + 1)])), InvalidArgumentError)
  await world.run(writer.write(['abc', 'still ', 'usable'].map(encode)))
  world.journal.append([encode('e')])
  await world.run(writer.commit())
  t.equal(world.journal.durable, 5, 'the journal is as durable as the snapshot may be new')
  t.same(world.names(), ['journal-0000000000000002.log', 'snapshot-0000000000000002.snap'])
  t.equal(world.journal.bytesSinceSnapshot, world.file('journal-0000000000000002.log').length)
  await t.rejects(writer.write([encode('late')]), InvalidArgumentError)
  await writer.abort()
  world.crash(true)
  const recovered = await world.open()
  t.same(decode(recovered.snapshot), ['abc', 'still ', 'usable'])
  t.same(decode(recovered.journal), ['d', 'e'])
  t.match(world.recovery, { snapshotRecords: 3, journalRecords: 2, tornBytes: 0, cleanStop: false })
})

t.test('an aborted or failed snapshot leaves everything as it was', async (t) => {
  const world = new World()
  await world.open()
  await world.appendDurable('a')
  const aborted = await world.run(world.journal.beginSnapshot())
  await world.run(aborted.write([encode('half')]))
  await world.run(aborted.abort())
  const failed = await world.run(world.journal.beginSnapshot())
  failing(world, 'append', 'ENOSPC')
  await t.rejects(world.run(failed.write(new Array(3).fill(new Uint8Array(200_000)))), DiskFullError)
  await t.rejects(failed.commit(), DiskFullError)
  world.storage.fault = () => undefined
  t.equal(world.journal.status, 'ok', 'the journal itself has not failed')
  t.same(world.names().length, 3, 'three segments and nothing else')
  const empty = await world.run(world.journal.beginSnapshot())
  await world.run(empty.commit())
  t.same(world.names(), ['journal-0000000000000004.log', 'snapshot-0000000000000004.snap'])
  world.crash(true)
  t.same(await world.open(), { snapshot: [], journal: [] })
})

t.test('a snapshot is not committed before the journal is as durable', async (t) => {
  const world = new World()
  await world.open()
  await world.appendDurable('a')
  const writer = await world.run(world.journal.beginSnapshot())
  const isSegment = (path: string) => path.includes('/journal-')
  world.storage.fault = (operation, path) =>
    operation === 'append' && isSegment(path) ? 'ENOSPC' : undefined
  world.journal.append([encode('b')])
  await world.run(writer.write([encode('a and b')]))
  await t.rejects(world.run(writer.commit()), DiskFullError)
  t.same(world.names(), [FIRST, 'journal-0000000000000002.log'])
  world.crash(true)
  t.same(decode((await world.open()).journal), ['a'])
})

t.test('a process killed at any turn of a snapshot, then a power cut after the next start', async (t) => {
  const wrong: string[] = []
  for (let count = 0; count < 45; count += 1) {
    for (let seed = 0; seed < 16; seed += 1) {
      const world = new World(seed)
      await world.open()
      await world.appendDurable('a')
      const committed = world.journal
        .beginSnapshot()
        .then(async (writer) => {
          await writer.write([encode('a')])
          await writer.commit()
        })
        .catch(() => undefined)
      await turns(world, count)
      void committed
      world.crash(false)
      for (const power of [true, true]) {
        const { snapshot, journal } = await world.open()
        const found = decode([...snapshot, ...journal]).join()
        if (found !== 'a') wrong.push(`killed after ${count} turns, seed ${seed}: ${found}`)
        world.crash(power)
      }
    }
  }
  t.same(wrong, [])
})

t.test('a disk full at any call of a rotation, closed at any turn of it', async (t) => {
  const wrong: string[] = []
  for (let call = 0; call < 6; call += 1) {
    for (let count = 0; count < 10; count += 1) {
      const world = new World(count)
      await world.open()
      await world.appendDurable('a')
      const first = world.storage.calls + call
      world.storage.fault = () => (world.storage.calls > first ? 'ENOSPC' : undefined)
      world.journal.beginSnapshot().catch(() => undefined)
      await turns(world, count)
      await world.run(world.journal.close())
      world.crash(count % 2 === 0)
      const found = decode((await world.open()).journal).join()
      if (found !== 'a') wrong.push(`full from call ${call}, closed after ${count} turns: ${found}`)
    }
  }
  t.same(wrong, [])
})

t.test('a large snapshot is synced on the way and comes back whole', async (t) => {
  const world = new World()
  await world.open()
  const writer = await world.run(world.journal.beginSnapshot())
  const record = (at: number) => new Uint8Array(90_000).fill(at)
  let syncs = 0
  world.storage.fault = (operation) => {
    if (operation === 'sync') syncs += 1
    return undefined
  }
  for (let at = 0; at < 100; at += 1) await world.run(writer.write([record(at)]))
  t.equal(syncs, 2)
  await world.run(writer.commit())
  world.crash(true)
  const { snapshot } = await world.open()
  t.equal(snapshot.length, 100)
  t.ok(snapshot.every((found, at) => Buffer.compare(found, record(at)) === 0))
})

t.test('closing ends a snapshot that is being begun or written', async (t) => {
  for (let count = 0; count < 12; count += 1) {
    const world = new World(count)
    await world.open()
    world.journal.append([encode('a')])
    const beginning = world.journal.beginSnapshot()
    const refused = beginning.then(
      () => false,
      (error: unknown) => error instanceof NotRunningError,
    )
    await turns(world, count)
    await world.run(world.journal.close())
    await refused
    t.notOk(
      world.names().some((name) => name.endsWith('.tmp')),
      `closed after ${count} turns`,
    )
    world.crash(true)
    t.same(decode((await world.open()).journal), ['a'])
    t.ok(world.recovery.cleanStop)
  }
})

t.test('opening and closing again and again does not let the file grow', async (t) => {
  const world = new World()
  await world.open()
  await world.appendDurable('a')
  await world.run(world.journal.close())
  const { length } = world.file(FIRST)
  for (let round = 0; round < 3; round += 1) {
    await world.open()
    await world.run(world.journal.close())
  }
  t.equal(world.file(FIRST).length, length)
})

t.test('without a disk the same interface completes a turn later', async (t) => {
  const turns = new Turns()
  const told: number[] = []
  const journal = new MemoryJournal(turns, { onDurable: (position) => told.push(position) })
  const position = journal.append([encode('a'), encode('b')])
  t.equal(position, 2)
  t.equal(journal.durable, 0)
  await turns.run(journal.whenDurable(2))
  t.same(told, [2])
  await t.rejects(journal.whenDurable(3), InvalidArgumentError)
  const writer = await journal.beginSnapshot()
  await t.rejects(journal.beginSnapshot(), InvalidArgumentError)
  await writer.write([encode('x')])
  await writer.commit()
  await t.rejects(writer.write([encode('x')]), InvalidArgumentError)
  await (await journal.beginSnapshot()).abort()
  const last = journal.append([encode('c')])
  const waiting = journal.whenDurable(last)
  await journal.close()
  await waiting
  t.equal(journal.pendingBytes, 0)
  t.throws(() => journal.append([encode('d')]), NotRunningError)
  await t.rejects(journal.beginSnapshot(), NotRunningError)
  await journal.close()
})
