import type { Test } from 'tap'
import type { Disk, ReadFile } from '../../src/environment/environment.js'
import { DirectoryInUseError, DiskError, FileNotFoundError } from '../../src/sync/errors.js'

/** One disk under test. */
export interface DiskHarness {
  readonly disk: Disk
  /** Exists and is empty. */
  readonly directory: string
  /** Waits for a result; a simulated disk moves its time meanwhile. */
  readonly run: <T>(operation: Promise<T>) => Promise<T>
}

/**
 * What every implementation of `Disk` must do, as far as it can be seen without pulling a plug.
 * `create` is called once for each test and cleans up after itself (`t.teardown`).
 */
export function diskConformance(t: Test, create: (t: Test) => Promise<DiskHarness> | DiskHarness): void {
  t.test('appends in order, whatever the chunks, and reads back any range', async (t) => {
    const { disk, directory, run } = await create(t)
    const path = `${directory}/a`
    const file = await run(disk.openAppend(path))
    t.equal(file.size, 0, 'a new file is empty')
    await run(file.append([], { durable: true }))
    await run(file.append([bytes(1), new Uint8Array(0), bytes(2, 3)], { durable: true }))
    await run(file.append([bytes(4)], { durable: false }))
    await run(file.append([new Uint8Array(0)], { durable: false }))
    await run(file.append([bytes(5, 6)], { durable: true }))
    t.equal(file.size, 6)
    await run(file.close())
    const reader = await run(disk.openRead(path))
    t.equal(reader.size, 6)
    t.same(await run(reader.read(0, 100)), bytes(1, 2, 3, 4, 5, 6), 'shorter only at the end')
    t.same(await run(reader.read(2, 3)), bytes(3, 4, 5))
    t.same(await run(reader.read(6, 1)), bytes(), 'nothing at the end')
    t.same(await run(reader.read(9, 1)), bytes(), 'nothing behind it')
    await run(reader.close())
  })

  t.test('takes many chunks and many bytes in one append', async (t) => {
    const { disk, directory, run } = await create(t)
    const file = await run(disk.openAppend(`${directory}/a`))
    const small = Array.from({ length: 5000 }, (_, position) => bytes(position % 251, position % 7))
    const large = [pattern(3_000_000), pattern(1_500_001)]
    await run(file.append(small, { durable: true }))
    await run(file.append(large, { durable: true }))
    t.equal(file.size, 10_000 + 4_500_001)
    const reader = await run(disk.openRead(`${directory}/a`))
    t.ok(Buffer.concat([...small, ...large]).equals(await readAll(reader, run)))
    await run(reader.close())
    await run(file.close())
  })

  t.test('opening again goes on at the end', async (t) => {
    const { disk, directory, run } = await create(t)
    for (const byte of [7, 8, 9]) {
      const file = await run(disk.openAppend(`${directory}/a`))
      t.equal(file.size, byte - 7)
      await run(file.append([bytes(byte)], { durable: byte !== 8 }))
      await run(file.close())
    }
    t.same(await contents(disk, `${directory}/a`, run), bytes(7, 8, 9))
  })

  t.test('truncates, and appends from there', async (t) => {
    const { disk, directory, run } = await create(t)
    const file = await run(disk.openAppend(`${directory}/a`))
    await run(file.append([pattern(10_000)], { durable: true }))
    await run(file.truncate(4))
    t.equal(file.size, 4)
    await run(file.append([bytes(99)], { durable: true }))
    await run(file.truncate(5))
    t.same(await contents(disk, `${directory}/a`, run), Uint8Array.of(...pattern(4), 99))
    await run(file.truncate(0))
    t.equal(file.size, 0)
    await run(file.close())
  })

  t.test('reserves zeros behind the end, which nothing appended suffers from', async (t) => {
    const { disk, directory, run } = await create(t)
    const path = `${directory}/a`
    const file = await run(disk.openAppend(path))
    await run(file.append([pattern(1000)], { durable: true }))
    file.reserve(100_000)
    t.equal(file.size, 1000, 'they do not count')
    // While they are made, into them, and beyond them.
    const expected = [pattern(1000)]
    for (const length of [200_000, 10, 3000, 150_000, 1]) {
      expected.push(pattern(length))
      await run(file.append([pattern(length)], { durable: true }))
      file.reserve(100_000)
    }
    const { size } = file
    const all = await contents(disk, path, run)
    t.ok(Buffer.concat(expected).equals(all.subarray(0, size)))
    t.ok(all.subarray(size).every((byte) => byte === 0))
    await run(file.truncate(500))
    t.equal((await contents(disk, path, run)).length, 500, 'cut off')
    await run(file.append([bytes(1)], { durable: true }))
    file.reserve(100_000)
    await run(file.append([bytes(2)], { durable: true }))
    await run(file.close())
    t.same((await contents(disk, path, run)).subarray(500), bytes(1, 2), 'gone when closed')
  })

  t.test('one write at a time, none after close', async (t) => {
    const { disk, directory, run } = await create(t)
    const file = await run(disk.openAppend(`${directory}/a`))
    const first = file.append([bytes(1)], { durable: true })
    await t.rejects(run(file.append([bytes(2)], { durable: true })), DiskError)
    await run(first)
    await run(file.close())
    await t.rejects(run(file.append([bytes(3)], { durable: true })), DiskError)
    t.same(await contents(disk, `${directory}/a`, run), bytes(1))
  })

  t.test('lists, renames over, removes', async (t) => {
    const { disk, directory, run } = await create(t)
    for (const [name, byte] of [
      ['b', 1],
      ['a', 2],
      ['c', 3],
    ] as const) {
      const file = await run(disk.openAppend(`${directory}/${name}`))
      await run(file.append([bytes(byte)], { durable: true }))
      await run(file.close())
    }
    t.same(await run(disk.list(directory)), ['a', 'b', 'c'])
    await run(disk.rename(`${directory}/c`, `${directory}/a`))
    await run(disk.syncDirectory(directory))
    t.same(await run(disk.list(directory)), ['a', 'b'])
    t.same(await contents(disk, `${directory}/a`, run), bytes(3), 'what was renamed is in its place')
    await run(disk.remove(`${directory}/b`))
    t.same(await run(disk.list(directory)), ['a'])
  })

  t.test('an open reader outlives the removal of its file', async (t) => {
    const { disk, directory, run } = await create(t)
    const file = await run(disk.openAppend(`${directory}/a`))
    await run(file.append([bytes(1, 2)], { durable: true }))
    await run(file.close())
    const reader = await run(disk.openRead(`${directory}/a`))
    await run(disk.remove(`${directory}/a`))
    t.same(await run(reader.read(0, 2)), bytes(1, 2))
    await run(reader.close())
  })

  t.test('directories: with their parents, again, and missing ones', async (t) => {
    const { disk, directory, run } = await create(t)
    await run(disk.makeDirectory(`${directory}/x/y/z`))
    await run(disk.makeDirectory(`${directory}/x/y/z`))
    t.same(await run(disk.list(`${directory}/x/y/z`)), [])
    await run((await run(disk.openAppend(`${directory}/x/y/z/a`))).close())
    await t.rejects(run(disk.openRead(`${directory}/nothing`)), FileNotFoundError)
    await t.rejects(run(disk.openAppend(`${directory}/no/where`)), FileNotFoundError)
    await t.rejects(run(disk.list(`${directory}/nowhere`)), FileNotFoundError)
    await t.rejects(run(disk.remove(`${directory}/nothing`)), FileNotFoundError)
    await t.rejects(run(disk.rename(`${directory}/nothing`, `${directory}/a`)), FileNotFoundError)
  })

  t.test('a lock is exclusive until it is released, once', async (t) => {
    const { disk, directory, run } = await create(t)
    await run(disk.makeDirectory(`${directory}/other`))
    const lock = await run(disk.lock(directory))
    await t.rejects(run(disk.lock(directory)), DirectoryInUseError)
    const other = await run(disk.lock(`${directory}/other`))
    await run(lock.release())
    const again = await run(disk.lock(directory))
    await run(again.release())
    await run(other.release())
  })
}

function bytes(...values: number[]): Uint8Array {
  return Uint8Array.from(values)
}

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, position) => (position * 31 + (position >> 8)) & 255)
}

async function contents(disk: Disk, path: string, run: DiskHarness['run']): Promise<Uint8Array> {
  const reader = await run(disk.openRead(path))
  const all = await readAll(reader, run)
  await run(reader.close())
  return all
}

async function readAll(reader: ReadFile, run: DiskHarness['run']): Promise<Uint8Array> {
  return run(reader.read(0, reader.size))
}
