import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { withoutFirst } from '../../src/environment/real-append-file.js'
import { createRealDisk } from '../../src/environment/real-disk.js'
import { DirectoryInUseError, DiskError, DiskFullError, FileNotFoundError } from '../../src/sync/errors.js'
import { diskConformance } from './disk-conformance.js'
import { mountSmallDisk } from './small-disk.js'

const disk = createRealDisk()

t.test('conforms', async (t) => {
  diskConformance(t, (t) => ({ disk, directory: t.testdir(), run: (operation) => operation }))
})

t.test('what is left of the chunks after a short write', async (t) => {
  const vectors = [Uint8Array.of(1, 2, 3), Uint8Array.of(4), Uint8Array.of(5, 6)]
  const all = [1, 2, 3, 4, 5, 6]
  for (let written = 0; written <= all.length; written += 1) {
    const left = withoutFirst(vectors, written).flatMap((vector) => [...vector])
    t.same(left, all.slice(written), `${written} written`)
  }
})

t.test('a short write of the system goes on where it stopped', async (t) => {
  const directory = t.testdir()
  const original = fs.writev
  t.teardown(() => {
    fs.writev = original
  })
  // Three bytes at a time, as a nearly full disk or a signal may do it.
  const stingy = (descriptor: number, vectors: Uint8Array[], position: number, done: WriteDone) =>
    original(descriptor, [vectors[0]!.subarray(0, 3)], position, done)
  fs.writev = stingy as unknown as typeof fs.writev
  const file = await disk.openAppend(`${directory}/a`)
  for (const durable of [true, false, true])
    await file.append([Buffer.from('abcdefg'), Buffer.from('hi')], { durable })
  t.equal(file.size, 27)
  await file.close()
  t.equal(fs.readFileSync(`${directory}/a`, 'utf8'), 'abcdefghi'.repeat(3))
})

t.test('reserved zeros are there once made; a sync that fails is told to the next append', async (t) => {
  if (process.platform !== 'linux') return
  const directory = t.testdir()
  const file = await disk.openAppend(`${directory}/a`)
  await file.append([Buffer.from('abc')], { durable: true })
  const original = fs.fdatasync
  t.teardown(() => {
    fs.fdatasync = original
  })
  const synced = new Promise<void>((resolve) => {
    fs.fdatasync = ((descriptor: number, done: (error: Error | null) => void) =>
      original(descriptor, (error) => {
        done(error)
        resolve()
      })) as typeof fs.fdatasync
  })
  file.reserve(5000)
  await synced
  await file.append([Buffer.from('def')], { durable: true })
  t.ok(fs.readFileSync(`${directory}/a`).equals(Buffer.concat([Buffer.from('abcdef')], 5003)))
  const failure = Object.assign(new Error('input/output error'), { code: 'EIO' })
  const failing = (_: number, done: (error: Error) => void) => setImmediate(done, failure)
  fs.fdatasync = failing as unknown as typeof fs.fdatasync
  file.reserve(50_000)
  const beyond = file.append([Buffer.alloc(10_000, 1)], { durable: true })
  await t.rejects(beyond, DiskError)
  fs.fdatasync = original
  await file.close()
})

t.test('an append waits for zeros that would come down on it', async (t) => {
  if (process.platform !== 'linux') return
  const directory = t.testdir()
  const file = await disk.openAppend(`${directory}/a`)
  const original = fs.writev
  t.teardown(() => {
    fs.writev = original
  })
  const late = (...call: [number, Uint8Array[], number, WriteDone]) => {
    const isZeros = call[1].every((vector) => vector.every((byte) => byte === 0))
    setTimeout(() => original(...call), isZeros ? 20 : 0)
  }
  fs.writev = late as unknown as typeof fs.writev
  file.reserve(1000)
  for (const byte of [1, 2]) await file.append([Buffer.alloc(300, byte)], { durable: true })
  file.reserve(1000)
  for (const byte of [3, 4]) await file.append([Buffer.alloc(300, byte)], { durable: true })
  await file.close()
  const expected = [1, 2, 3, 4].map((byte) => Buffer.alloc(300, byte))
  t.ok(fs.readFileSync(`${directory}/a`).equals(Buffer.concat(expected)))
})

type WriteDone = Parameters<typeof fs.writev>[3]

t.test('errors have a class by what can be done about them', async (t) => {
  const directory = t.testdir({ file: 'x' })
  await t.rejects(disk.list(`${directory}/file`), DiskError)
  await t.rejects(disk.openRead(`${directory}/none`), FileNotFoundError)
  await t.rejects(disk.lock(`${directory}/none`), FileNotFoundError)
  await t.rejects(disk.makeDirectory(`${directory}/file/below`), DiskError)
  if (!fs.existsSync('/dev/full')) return
  const full = await disk.openAppend('/dev/full')
  await t.rejects(full.append([new Uint8Array(1)], { durable: true }), DiskFullError)
  await full.close()
})

t.test('a full disk: truncate, and go on when there is space', async (t) => {
  const directory = mountSmallDisk(t, 1)
  if (directory === undefined) {
    t.pass('this user may not mount; the fake disk of the journal tests covers it')
    return
  }
  const file = await disk.openAppend(`${directory}/a`)
  await file.append([Buffer.alloc(1000, 1)], { durable: true })
  fs.writeFileSync(`${directory}/ballast`, Buffer.alloc(300_000))
  await t.rejects(file.append([Buffer.alloc(900_000, 2)], { durable: true }), DiskFullError)
  await file.truncate(1000)
  t.equal(file.size, 1000)
  fs.unlinkSync(`${directory}/ballast`)
  await file.append([Buffer.alloc(400_000, 3)], { durable: true })
  await file.close()
  t.same(fs.readFileSync(`${directory}/a`), Buffer.concat([Buffer.alloc(1000, 1), Buffer.alloc(400_000, 3)]))
})

t.test('the lock names its holder, and dies with it', async (t) => {
  const directory = t.testdir()
  const holder = await startHolder(t, directory)
  await t.rejects(disk.lock(directory), {
    constructor: DirectoryInUseError,
    message: `${directory} is in use by process ${holder.child.pid} on host ${hostname()}`,
  })
  fs.symlinkSync(directory, `${directory}-link`)
  t.teardown(() => fs.unlinkSync(`${directory}-link`))
  await t.rejects(disk.lock(`${directory}-link`), DirectoryInUseError, 'by whatever path')
  const died = once(holder.child, 'exit')
  holder.child.kill('SIGKILL')
  await died
  const lock = await disk.lock(directory)
  const refused = await startHolder(t, directory)
  t.match(refused.said, `in use by process ${process.pid} on host`)
  await lock.release()
  t.equal((await startHolder(t, directory)).said, 'held')
})

t.test('the lock also holds against another network namespace, as containers have', async (t) => {
  const unshare = spawnSync('unshare', ['--net', 'true'])
  if (unshare.status !== 0 || !fs.existsSync('/usr/bin/flock')) {
    t.pass('this user may not create a namespace')
    return
  }
  const directory = t.testdir()
  const lock = await disk.lock(directory)
  t.match((await startHolder(t, directory, ['unshare', '--net'])).said, 'in use by process')
  await lock.release()
  t.equal((await startHolder(t, directory, ['unshare', '--net'])).said, 'held')
})

interface Holder {
  readonly child: ChildProcess
  /** Its first line: 'held' or why not. */
  readonly said: string
}

async function startHolder(t: Test, directory: string, prefix: readonly string[] = []): Promise<Holder> {
  const script = join(fileURLToPath(new URL('.', import.meta.url)), 'lock-holder.ts')
  const [program, ...rest] = [...prefix, process.execPath, '--import=tsx', script, directory]
  const child = spawn(program!, rest, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = (await once(child.stdout!, 'data')) as [Uint8Array]
  return { child, said: String(line).trim() }
}
