import fc from 'fast-check'
import t from 'tap'
import type { Disk } from '../../src/environment/environment.js'
import { ProcessDisk } from '../../src/simulation/disk/process-disk.js'
import { DEFAULT_DISK_PROFILE, StoredDisk } from '../../src/simulation/disk/store.js'
import { Kernel } from '../../src/simulation/kernel/kernel.js'
import { SimulatedProcess } from '../../src/simulation/kernel/process.js'
import { DirectoryInUseError, DiskFullError, FileNotFoundError } from '../../src/sync/errors.js'
import { diskConformance } from '../environment/disk-conformance.js'

class Bench {
  readonly kernel: Kernel
  readonly store: StoredDisk
  process: SimulatedProcess
  disk: Disk
  #generation = 1

  constructor(seed: number | string = 1, losesPages = false) {
    this.kernel = new Kernel({ seed })
    this.store = new StoredDisk({ ...DEFAULT_DISK_PROFILE, losesPages }, this.kernel.random.fork('disk'))
    this.process = new SimulatedProcess(this.kernel, 1, 1)
    this.disk = new ProcessDisk(this.process, this.store)
  }

  restart(power: boolean): void {
    this.process.kill()
    if (power) this.store.losePower()
    this.process = new SimulatedProcess(this.kernel, 1, ++this.#generation)
    this.disk = new ProcessDisk(this.process, this.store)
  }

  async do<T>(operation: Promise<T>): Promise<T> {
    let settled = false
    const settle = () => {
      settled = true
    }
    operation.then(settle, settle)
    for (let round = 0; round < 1000 && !settled; round++) await this.kernel.run(this.kernel.nowUs + 10_000)
    if (!settled) throw new Error('the disk does not answer')
    return operation
  }

  async contents(path: string): Promise<string> {
    const file = await this.do(this.disk.openRead(path))
    return new TextDecoder().decode(await this.do(file.read(0, file.size)))
  }
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

t.test('conformance', async (t) => {
  diskConformance(t, async () => {
    const bench = new Bench()
    await bench.do(bench.disk.makeDirectory('/data'))
    return { disk: bench.disk, directory: '/data', run: (operation) => bench.do(operation) }
  })
})

t.test('files: append, read, rename, list, remove, truncate, lock', async (t) => {
  const bench = new Bench()
  await t.rejects(bench.do(bench.disk.openAppend('data/a')), FileNotFoundError)
  await bench.do(bench.disk.makeDirectory('data/inner'))
  const file = await bench.do(bench.disk.openAppend('data/a'))
  await bench.do(file.append([bytes('one '), bytes('two ')], { durable: true }))
  const second = file.append([bytes('three')], { durable: false })
  await t.rejects(file.append([bytes('at once')], { durable: false }), /in flight/)
  await bench.do(second)
  t.equal(file.size, 13)
  t.equal(await bench.contents('./data/a'), 'one two three')
  await bench.do(file.truncate(4))
  t.equal(await bench.contents('data/a'), 'one ')
  await bench.do(bench.disk.rename('data/a', 'data/b'))
  await bench.do(bench.disk.openAppend('data/inner/c'))
  t.same(await bench.do(bench.disk.list('data')), ['b'])
  await bench.do(bench.disk.remove('data/b'))
  await t.rejects(bench.do(bench.disk.openRead('data/b')), FileNotFoundError)
  const lock = await bench.do(bench.disk.lock('data'))
  await t.rejects(bench.do(bench.disk.lock('data')), DirectoryInUseError)
  await bench.do(lock.release())
  await bench.do(bench.disk.lock('data'))
  await bench.do(file.close())
  await t.rejects(bench.do(file.append([bytes('late')], { durable: false })), /closed/)
  bench.restart(false)
  await bench.do(bench.disk.lock('data'))
})

t.test(
  'a power cut keeps all that was synced, and any of the rest; a kill keeps what was written',
  async (t) => {
    const endings = new Set<string>()
    for (let seed = 0; seed < 200; seed++) {
      const bench = new Bench(seed)
      await bench.do(bench.disk.makeDirectory('d'))
      const file = await bench.do(bench.disk.openAppend('d/f'))
      await bench.do(bench.disk.syncDirectory('d'))
      await bench.do(file.append([bytes('synced|')], { durable: true }))
      await bench.do(file.append([bytes('aaaa')], { durable: false }))
      await bench.do(file.append([bytes('bbbb')], { durable: false }))
      bench.restart(seed % 2 === 0)
      const found = await bench.contents('d/f')
      if (seed % 2 === 1) t.equal(found, 'synced|aaaabbbb')
      else {
        t.match(found, /^synced\|(a{0,4}|[a\0]{4}b{1,4})$/)
        endings.add(found)
      }
    }
    t.ok(endings.size >= 8, `many endings: ${endings.size}`)
    t.ok(
      [...endings].some((ending) => ending.includes('\0')),
      'also a hole below something kept',
    )
  },
)

t.test('an append under way at a death is written in part; its promise never settles', async (t) => {
  const lengths = new Set<number>()
  for (let seed = 0; seed < 60; seed++) {
    const bench = new Bench(`part-${seed}`)
    await bench.do(bench.disk.makeDirectory('d'))
    const file = await bench.do(bench.disk.openAppend('d/f'))
    void file.append([bytes('0123456789')], { durable: true }).then(() => t.fail('a dead process was told'))
    bench.restart(false)
    lengths.add((await bench.contents('d/f')).length)
    await bench.kernel.run(bench.kernel.nowUs + 1_000_000)
  }
  t.ok(lengths.has(10) && lengths.size > 4)
})

t.test('creations, renames and removals not synced are undone from some point on', async (t) => {
  const outcomes = new Set<string>()
  for (let seed = 0; seed < 100; seed++) {
    const bench = new Bench(`names-${seed}`)
    await bench.do(bench.disk.makeDirectory('d'))
    for (const name of ['old', 'target']) {
      const file = await bench.do(bench.disk.openAppend(`d/${name}`))
      await bench.do(file.append([bytes(name)], { durable: true }))
    }
    await bench.do(bench.disk.syncDirectory('d'))
    await bench.do(bench.disk.rename('d/old', 'd/target'))
    await bench.do(bench.disk.remove('d/target'))
    await bench.do(bench.disk.openAppend('d/new'))
    if (seed % 10 === 0) await bench.do(bench.disk.syncDirectory('d'))
    bench.restart(true)
    const names = await bench.do(bench.disk.list('d'))
    if (seed % 10 === 0) t.same(names, ['new'])
    else outcomes.add(names.join())
    if (names.join() === 'target') t.equal(await bench.contents('d/target'), 'old')
    if (names.includes('old')) t.equal(await bench.contents('d/target'), 'target')
  }
  t.same([...outcomes].sort(), ['', 'new', 'old,target', 'target'])
})

t.test('full, failing, flipped, restored, wiped', async (t) => {
  const bench = new Bench()
  await bench.do(bench.disk.makeDirectory('d'))
  const file = await bench.do(bench.disk.openAppend('d/f'))
  await bench.do(file.append([bytes('good')], { durable: true }))
  const backup = bench.store.image()
  bench.store.full = true
  await t.rejects(bench.do(file.append([bytes('0123456789')], { durable: true })), DiskFullError)
  t.ok(file.size >= 4 && file.size <= 14)
  await bench.do(file.truncate(4))
  await t.rejects(bench.do(bench.disk.openAppend('d/other')), DiskFullError)
  bench.store.full = false
  bench.store.failWrites = 1
  await t.rejects(bench.do(file.append([bytes('0123456789')], { durable: true })), /input\/output/)
  await bench.do(file.truncate(4))
  await bench.do(file.append([bytes(' more')], { durable: true }))
  t.equal(await bench.contents('d/f'), 'good more')
  t.ok(bench.store.flipBit(bench.kernel.random))
  t.not(await bench.contents('d/f'), 'good more')
  bench.store.restore(backup)
  t.equal(await bench.contents('d/f'), 'good')
  bench.store.restore(new Map())
  t.same(await bench.do(bench.disk.list('d')), [])
  t.notOk(bench.store.flipBit(bench.kernel.random))
})

t.test('whatever is done, synced bytes stay byte for byte', async (t) => {
  const step = fc.record({ length: fc.nat({ max: 9000 }), durable: fc.boolean() })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 6 }), fc.nat(), async (steps, seed) => {
      const bench = new Bench(seed, true)
      await bench.do(bench.disk.makeDirectory('d'))
      const file = await bench.do(bench.disk.openAppend('d/f'))
      await bench.do(bench.disk.syncDirectory('d'))
      let synced = 0
      const all: number[] = []
      for (const { length, durable } of steps) {
        const chunk = bench.kernel.random.bytes(length)
        all.push(...chunk)
        await bench.do(file.append([chunk], { durable }))
        if (durable) synced = all.length
      }
      bench.restart(true)
      const after = await bench.do(bench.disk.openRead('d/f'))
      const found = await bench.do(after.read(0, after.size))
      return found.length >= synced && all.slice(0, synced).every((byte, at) => found[at] === byte)
    }),
    { numRuns: 50 },
  )
  t.pass()
})
