import fc from 'fast-check'
import t from 'tap'
import { decodeBlock, encodeBlock, MAX_BLOCK_ENTRIES } from '../../src/ledger/codec.js'
import { checkActor, type LedgerEntry, type LedgerLine } from '../../src/ledger/entry.js'
import { readLedger } from '../../src/ledger/file-store.js'
import { Ledger, MAX_WAITING_BYTES } from '../../src/ledger/ledger.js'
import { MAX_ENTRIES_IN_MEMORY } from '../../src/ledger/memory-store.js'
import { checkQuery, type LedgerOptions } from '../../src/ledger/query.js'
import { InvalidArgumentError } from '../../src/sync/errors.js'
import { silentLogger } from '../../src/sync/logger.js'
import { FakeDisk, Storage, seededUniform, Turns } from '../journal/fake-disk.js'

const KIB = 1024

function line(number: number, rest: Partial<LedgerLine> = {}): LedgerLine {
  return {
    type: 'deposit',
    timeMs: 1_000 + number,
    storage: 'vault',
    world: undefined,
    item: `test:item_${number % 7}`,
    amount: BigInt(number + 1),
    by: `player:${number % 3}`,
    operationId: undefined,
    withdrawalId: undefined,
    kind: undefined,
    group: 0,
    outcome: 'durable',
    code: undefined,
    ...rest,
  }
}

/** A directory with a ledger in it that can be opened again after a crash. */
class Home {
  readonly turns = new Turns()
  readonly storage: Storage
  wallMs = 1_000_000
  ledger!: Ledger

  constructor(seed = 1) {
    this.storage = new Storage(seededUniform(seed))
  }

  get disk() {
    return new FakeDisk(this.storage, this.turns)
  }

  async open(settings: { maxBytes?: number; retentionMs?: number; directory?: string | undefined } = {}) {
    const { maxBytes = 64 * 1024 * KIB, retentionMs = 1e9 } = settings
    this.ledger = await this.run(
      Ledger.open({
        environment: {
          disk: this.disk,
          scheduler: this.turns,
          clock: { wallMs: () => this.wallMs, monotonicMs: () => 0 },
        },
        directory: 'directory' in settings ? settings.directory : 'data',
        maxBytes,
        retentionMs,
        logger: silentLogger,
      }),
    )
  }

  run<T>(operation: Promise<T>): Promise<T> {
    return this.turns.run(operation)
  }

  record(from: number, to: number): void {
    for (let number = from; number < to; number++) this.ledger.record(line(number))
  }

  async written(from: number, to: number): Promise<void> {
    this.record(from, to)
    await this.run(this.ledger.flush())
  }

  all(options: LedgerOptions = {}): Promise<LedgerEntry[]> {
    return this.run(collect(this.ledger.entries(checkQuery(options))))
  }

  crash(power: boolean): void {
    this.turns.clear()
    if (power) this.storage.losePower()
    else this.storage.kill()
    this.storage.fault = () => undefined
  }

  names(): string[] {
    return [...this.storage.files.keys()].filter((name) => name.includes('ledger-')).sort()
  }
}

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const value of values) all.push(value)
  return all
}

/** Amounts of the lines less one, which is their number; gaps by their reason. */
function told(entries: readonly LedgerEntry[]): (number | string)[] {
  return entries.map((entry) => (entry.type === 'gap' ? entry.reason : Number(entry.amount) - 1))
}

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index)

const entries = fc.array(
  fc.oneof(
    fc.record({
      type: fc.constantFrom('deposit', 'withdraw', 'settlement'),
      timeMs: fc.nat(),
      storage: fc.constantFrom('vault', 'a/b'),
      world: fc.option(fc.constant('nether'), { nil: undefined }),
      item: fc.constantFrom('minecraft:diamond', 'minecraft:sword{damage:5}'),
      amount: fc.bigInt({ min: 1n, max: 2n ** 512n - 1n }),
      by: fc.option(fc.constantFrom('player:steve', 'Zoë 🗡'), { nil: undefined }),
      operationId: fc.option(fc.string({ minLength: 1, maxLength: 9, unit: 'grapheme' }), { nil: undefined }),
      withdrawalId: fc.option(fc.uuid(), { nil: undefined }),
      kind: fc.constantFrom('backed', 'provisional', undefined),
      group: fc.nat(),
      outcome: fc.constantFrom('durable', 'confirmed', 'compensated', 'kept', 'parked', 'refused'),
      code: fc.option(fc.constant('DISK_FULL'), { nil: undefined }),
    }),
    fc.record({
      type: fc.constant('gap' as const),
      timeMs: fc.nat(),
      reason: fc.constantFrom('crash', 'overload', 'disk', 'damage', 'journal', 'removed'),
      missing: fc.option(fc.nat(), { nil: undefined }),
    }),
  ),
  { maxLength: 20 },
) as fc.Arbitrary<LedgerEntry[]>

t.test('a block gives back what went in; what a later version adds is left out', async (t) => {
  fc.assert(
    fc.property(entries, (given) => {
      t.same(
        decodeBlock(encodeBlock(given)),
        given.map((entry) => ({ ...entry })),
      )
    }),
    { numRuns: 100 },
  )
  const longest = line(1, { item: `x:${'y'.repeat(1022)}`, by: 'b'.repeat(128), storage: 's'.repeat(128) })
  t.equal(decodeBlock(encodeBlock(Array.from({ length: 150 }, () => longest))).length, 150)
})

t.test('who did something is text that a terminal can show', async (t) => {
  for (const by of ['player:steve', 'Zoë', 'a'.repeat(128)]) t.equal(checkActor(by), by)
  for (const by of ['', 'a'.repeat(129), 'a\nb', '\u001b[31m', '\ud800', 7, null])
    t.throws(() => checkActor(by), InvalidArgumentError)
})

t.test('what was recorded is there again, in order, after a proper stop and another start', async (t) => {
  const home = new Home()
  await home.open()
  await home.written(0, 1_300)
  t.same(told(await home.all()), numbers(0, 1_300))
  await home.run(home.ledger.close())
  await home.open()
  t.same(told(await home.all()), numbers(0, 1_300), 'no gap')
  await home.run(home.ledger.close())
  await home.open()
  await home.written(1_300, 1_310)
  t.same(told(await home.all()), numbers(0, 1_310), 'a start that wrote nothing leaves no trace')
  t.same(told(await home.all({ limit: 5 })), numbers(1_305, 1_310))
  t.same(told(await home.all({ limit: 12 })), numbers(1_298, 1_310), 'over two files')
  t.same(
    told(await home.all({ item: 'test:item_3', by: 'player:0', limit: 2 })),
    numbers(0, 1_310)
      .filter((number) => number % 7 === 3 && number % 3 === 0)
      .slice(-2),
  )
  t.same(told(await home.all({ sinceMs: 2_300 })), numbers(1_300, 1_310))
  t.same(told(await home.all({ storage: 'elsewhere' })), [])
  const kept = await home.run(readLedger(home.disk, 'data', 3, {}))
  t.same(told(await home.run(collect(kept))), numbers(1_307, 1_310), 'also without the server')
  const whole = await home.run(readLedger(home.disk, 'data', undefined, {}))
  t.equal((await home.run(collect(whole))).length, 1_310)
  for (const options of [
    { limit: 0 },
    { limit: 1.5 },
    { by: '' },
    { storage: 'a b' },
    { sinceMs: Number.NaN },
  ])
    t.throws(() => checkQuery(options), InvalidArgumentError)
})

t.test('files are ended and removed: by size, and by age', async (t) => {
  const home = new Home()
  await home.open({ maxBytes: 64 * KIB })
  for (let round = 0; round < 60; round++) await home.written(round * 50, round * 50 + 50)
  const bytes = [...home.storage.files].reduce(
    (sum, [name, inode]) => sum + (name.includes('ledger-') ? inode.bytes.length : 0),
    0,
  )
  t.ok(
    home.names().length > 4 && bytes <= 64 * KIB + 12 * KIB,
    `${home.names().length} files, ${bytes} bytes`,
  )
  const left = told(await home.all()) as number[]
  t.same(left, numbers(left[0]!, 3_000), 'the newest are there')
  t.ok(left[0]! > 1_000)
  await home.run(home.ledger.close())
  home.wallMs += 10_000
  await home.open({ maxBytes: 64 * KIB, retentionMs: 5_000 })
  await home.written(3_000, 3_001)
  const before = home.names().length
  home.wallMs += 10_000
  await home.run(home.ledger.close())
  await home.open({ maxBytes: 64 * KIB, retentionMs: 5_000 })
  t.ok(home.names().length < before)
  t.same(
    told(await home.all()).slice(-1),
    [3_000],
    'the last file stays: nothing says how old its last line is',
  )
})

t.test(
  'who follows misses nothing over rotation, and is told what was removed before it came to it',
  async (t) => {
    const home = new Home()
    await home.open({ maxBytes: 64 * KIB })
    await home.written(0, 20)
    const stop = new AbortController()
    const seen: LedgerEntry[] = []
    const following = (async () => {
      for await (const entry of home.ledger.entries(
        checkQuery({ follow: true, limit: 5, signal: stop.signal }),
      ))
        seen.push(entry)
    })()
    const slow = home.ledger.entries(checkQuery({ follow: true }))
    t.match(await home.run(slow.next()), { value: { amount: 1n } })
    for (let round = 1; round < 40; round++) {
      await home.written(20 * round, 20 * round + 20)
      while (seen.length < 20 * round + 5 && (await home.turns.step()));
    }
    t.same(told(seen), numbers(15, 800))
    for (let number = 1; number < 20; number++) await home.run(slow.next())
    for (let round = 40; round < 80; round++) await home.written(20 * round, 20 * round + 20)
    const next = await home.run(slow.next())
    t.match(next.value, { type: 'gap', reason: 'removed' })
    stop.abort()
    await home.run(following)
    const ending = home.run(collect(slow))
    await home.run(home.ledger.close())
    t.same(told(await ending).slice(-1), [1_599], 'the end of the ledger ends it')
  },
)

t.test('a crash leaves a gap and whole lines, whatever is lost of the files', async (t) => {
  for (let seed = 1; seed <= 60; seed++) {
    const home = new Home(seed)
    await home.open({ maxBytes: 64 * KIB })
    await home.written(0, 30)
    // So far it is on the disk for sure.
    while (await home.turns.step());
    home.record(30, 200)
    for (let step = 0; step < seed % 9; step++) await home.turns.step()
    home.crash(seed % 2 === 0)
    await home.open({ maxBytes: 64 * KIB })
    const found = told(await home.all())
    const gap = found.indexOf('crash')
    t.ok(gap >= 30, `seed ${seed}: ${gap} lines before the gap`)
    const before = found.slice(0, gap).filter((entry) => entry !== 'damage')
    t.same(before, numbers(0, before.length), `seed ${seed}`)
    await home.written(500, 502)
    t.same(told(await home.all()).slice(-3), ['crash', 500, 501], `seed ${seed}`)
  }
})

t.test('damage in the middle costs what it covers, and shows', async (t) => {
  const home = new Home()
  await home.open()
  for (let round = 0; round < 10; round++) await home.written(round * 10, round * 10 + 10)
  await home.run(home.ledger.close())
  const [, inode] = [...home.storage.files].find(([name]) => name.includes('ledger-'))!
  const original = inode.bytes
  for (let offset = 16; offset < original.length; offset += 97) {
    inode.bytes = original.slice()
    inode.bytes[offset]! ^= 0x55
    const entries = await home.run(readLedger(home.disk, 'data', undefined, {}))
    const found = told(await home.run(collect(entries)))
    const gap = found.indexOf('damage')
    // The very last frame only says that the end is a proper one.
    if (offset >= original.length - 14) continue
    t.ok(gap >= 0 && gap % 10 === 0, `at ${offset}`)
    t.same(found, [...numbers(0, gap), 'damage', ...numbers(gap + 10, 100)], `at ${offset}`)
  }
  inode.bytes = original.slice()
  inode.bytes.fill(0x46, 40, original.length - 200)
  const entries = await home.run(readLedger(home.disk, 'data', undefined, {}))
  const found = told(await home.run(collect(entries)))
  t.equal(found[0], 'damage')
  t.ok(found.length < 30, 'what is left is found')
})

t.test(
  'a full disk holds nobody up: lines wait, then are counted, and come when there is room',
  async (t) => {
    const home = new Home()
    await home.open()
    await home.written(0, 10)
    home.storage.fault = (operation) => (operation === 'append' ? 'ENOSPC' : undefined)
    home.record(10, 30)
    for (let step = 0; step < 20; step++) await home.turns.step()
    t.same(told(await home.all()), numbers(0, 10), 'what is there can be read')
    const heavy = line(1, { item: `x:${'y'.repeat(1000)}` })
    for (let count = 0; count < MAX_WAITING_BYTES / 1_000; count++) home.ledger.record(heavy)
    home.storage.fault = () => undefined
    await home.run(home.ledger.flush())
    const found = await home.all()
    t.same(told(found).slice(10, 30), numbers(10, 30), 'they were kept')
    const [gap, ...more] = found.filter(({ type }) => type === 'gap')
    t.match(gap, { reason: 'disk' })
    t.same(more, [])
    const written = found.filter(({ type }) => type !== 'gap').length
    const { missing } = gap as { missing: number }
    t.equal(written + missing, 30 + Math.ceil(MAX_WAITING_BYTES / 1_000), 'every line is written or counted')
    home.storage.fault = (operation) => (operation === 'append' ? 'EIO' : undefined)
    home.record(0, 1)
    await home.run(home.ledger.close())
    home.crash(false)
    await home.open()
    t.same(told(await home.all()).slice(-1), ['crash'], 'it could not say that it ended')
  },
)

t.test('too many lines at once are counted; nothing waits longer than it must', async (t) => {
  const home = new Home()
  await home.open()
  const count = Math.ceil(MAX_WAITING_BYTES / 64)
  home.record(0, count)
  home.ledger.miss('journal', 3)
  await home.run(home.ledger.flush())
  const found = await home.all()
  const gaps = found.flatMap((entry) => (entry.type === 'gap' ? [entry] : []))
  t.match(gaps, [{ reason: 'overload' }, { reason: 'journal', missing: 3 }])
  t.equal(found.length - gaps.length + gaps[0]!.missing!, count)
  t.ok(found.length > MAX_BLOCK_ENTRIES)
})

t.test('without a disk the last lines are kept in memory', async (t) => {
  const home = new Home()
  await home.open({ directory: undefined })
  await home.written(0, 5)
  const slow = home.ledger.entries(checkQuery({ follow: true }))
  t.match(await home.run(slow.next()), { value: { amount: 1n } })
  for (let round = 0; round < 30; round++) await home.written(1_000 * round, 1_000 * round + 1_000)
  const all = told(await home.all())
  t.same(all, numbers(30_000 - MAX_ENTRIES_IN_MEMORY, 30_000))
  t.same(told(await home.all({ limit: 2 })), [29_998, 29_999])
  for (let number = 1; number < 5; number++) await home.run(slow.next())
  t.match(await home.run(slow.next()), { value: { type: 'gap', reason: 'removed' } })
  await home.run(home.ledger.close())
})

t.test(
  'a query reads only the files that may hold what it asks for, and finds what filtering all finds',
  async (t) => {
    const home = new Home()
    await home.open({ maxBytes: 256 * KIB })
    let wallMs = 0
    const write = async (rounds: number, rare: (round: number) => Partial<LedgerLine>) => {
      for (let round = 0; round < rounds; round++) {
        for (let number = 0; number < 50; number++)
          home.ledger.record(line(wallMs++, number === 7 ? rare(round) : {}))
        await home.run(home.ledger.flush())
      }
    }
    await write(60, (round) => (round === 10 ? { item: 'test:rare' } : {}))
    await home.run(home.ledger.close())
    await home.open({ maxBytes: 256 * KIB })
    await write(40, (round) => (round === 20 ? { by: 'player:rare', storage: 'attic' } : {}))
    const files = home.names().length
    t.ok(files > 5, `${files} files`)
    const all = await home.all()
    const read = new Set<string>()
    home.storage.fault = (operation, path) => {
      if (operation === 'read') read.add(path)
      return undefined
    }
    const queries: LedgerOptions[] = [
      { item: 'test:rare' },
      { by: 'player:rare' },
      { storage: 'attic', by: 'player:rare' },
      { storage: 'attic', by: 'player:1' },
      { item: 'test:nothing' },
      { item: 'test:item_3', by: 'player:1' },
      { sinceMs: 1_000 + wallMs - 20 },
      { sinceMs: 1_000 + wallMs - 2_000, item: 'test:rare' },
    ]
    for (const round of [1, 2]) {
      for (const query of queries) {
        read.clear()
        const { item, by, storage, sinceMs = 0 } = query
        const expected = all.filter(
          (entry) =>
            entry.timeMs >= sinceMs &&
            (entry.type === 'gap' ||
              ((item === undefined || entry.item === item) &&
                (by === undefined || entry.by === by) &&
                (storage === undefined || entry.storage === storage))),
        )
        t.same(told(await home.all({ ...query, limit: 10_000 })), told(expected), JSON.stringify(query))
        const isRare = expected.length < 100
        // What an earlier process wrote is read through once.
        if (round === 2)
          t.ok(isRare ? read.size <= 2 : read.size === files, `${read.size} of ${files} files read`)
      }
    }
  },
)
