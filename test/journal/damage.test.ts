import { crc32 } from 'node:zlib'
import t from 'tap'
import { READ_CHUNK_BYTES } from '../../src/journal/file-window.js'
import { FRAME_HEADER_BYTES } from '../../src/journal/frame.js'
import { HEADER_BYTES, newMark } from '../../src/journal/header.js'
import { JournalDamagedError, JournalFormatError } from '../../src/sync/errors.js'
import { decode, encode, World } from './world.js'

const FIRST = 'journal-0000000000000001.log'
const SECOND = 'journal-0000000000000002.log'
const SNAPSHOT = 'snapshot-0000000000000002.snap'

type Files = Map<string, Uint8Array>

/** Three groups in one segment, not closed; `ends` are the file sizes after each. */
async function threeGroups(close = false): Promise<{ files: Files; ends: number[] }> {
  const world = new World()
  await world.open()
  const ends = [world.file(FIRST).length]
  for (const texts of [['a', 'b'], ['c'], ['d', 'e', '']]) {
    await world.appendDurable(...texts)
    ends.push(world.file(FIRST).length)
  }
  if (close) await world.run(world.journal.close())
  return { files: world.copy(), ends }
}

/** A snapshot 's', 't' and a closed segment with groups 'c' and 'd' after it. */
async function withSnapshot(): Promise<Files> {
  const world = new World()
  await world.open()
  await world.appendDurable('a', 'b')
  const writer = await world.run(world.journal.beginSnapshot())
  await world.run(writer.write(['s', 't'].map(encode)))
  await world.appendDurable('c')
  await world.run(writer.commit())
  await world.appendDurable('d')
  await world.run(world.journal.close())
  return world.copy()
}

/** Opens a directory with one file changed; the error, or the records. */
async function outcome(files: Files, name?: string, bytes?: Uint8Array): Promise<string | Error> {
  const world = new World()
  const changed = new Map(files)
  if (name !== undefined && bytes !== undefined) changed.set(name, bytes)
  else if (name !== undefined) changed.delete(name)
  world.put(changed)
  try {
    const recovered = await world.open()
    const text = [...decode(recovered.snapshot), '|', ...decode(recovered.journal)].join('')
    // It can be written to, and read again, and what was cut off stays gone.
    await world.appendDurable('z')
    await world.run(world.journal.close())
    world.crash(true)
    const again = await world.open()
    const after = [...decode(again.snapshot), '|', ...decode(again.journal)].join('')
    if (after !== `${text}z` || again === recovered) throw new Error(`${text} became ${after}`)
    return text
  } catch (error) {
    if (!(error instanceof JournalDamagedError) && !(error instanceof JournalFormatError)) throw error
    const left = world.copy()
    for (const [name, bytes] of changed)
      if (Buffer.compare(left.get(name)!, bytes) !== 0) throw new Error(`${name} was changed`)
    if (left.size !== changed.size) throw new Error('files came or went')
    return error
  }
}

function flipped(bytes: Uint8Array, at: number, bit: number): Uint8Array {
  const copy = bytes.slice()
  copy[at]! ^= 1 << bit
  return copy
}

t.test('cut anywhere, or zeroed from anywhere: whole groups up to there', async (t) => {
  const { files, ends } = await threeGroups()
  const whole = files.get(FIRST)!
  const texts = ['|', '|ab', '|abc', '|abcde']
  const wrong: string[] = []
  for (let length = 0; length <= whole.length; length += 1) {
    const groups = ends.filter((end) => end <= length).length
    const expected = texts[Math.max(0, groups - 1)]!
    const cut = await outcome(files, FIRST, whole.slice(0, length))
    if (cut !== expected) wrong.push(`cut at ${length}: ${cut}`)
    if (length < HEADER_BYTES) continue
    const zeroed = whole.slice().fill(0, length)
    // A frame may end in zeros of its own, so a little more may be whole than the cut says.
    const found = await outcome(files, FIRST, zeroed)
    const more = texts[Math.min(3, Math.max(0, groups - 1) + 1)]!
    if (found !== expected && found !== more) wrong.push(`zeroed from ${length}: ${found}`)
  }
  t.same(wrong, [])
})

t.test(
  'zeros behind the last group are reserved room, in whichever segment; anything else is not',
  async (t) => {
    const { files } = await threeGroups()
    const whole = files.get(FIRST)!
    const opened = async (bytes: Uint8Array) => {
      const world = new World()
      world.put(new Map([[FIRST, bytes]]))
      const { journal } = await world.open()
      return { text: decode(journal).join(''), tornBytes: world.recovery.tornBytes }
    }
    for (const zeros of [1, FRAME_HEADER_BYTES, 5000, READ_CHUNK_BYTES + 17]) {
      const reserved = Buffer.concat([whole, Buffer.alloc(zeros)])
      t.same(await opened(reserved), { text: 'abcde', tornBytes: 0 }, `${zeros} zeros`)
      t.equal(await outcome(files, FIRST, reserved), '|abcde')
      reserved[reserved.length - 1] = 1
      t.same(
        await opened(reserved),
        { text: 'abcde', tornBytes: zeros },
        'what a crash left behind the zeros',
      )
    }
    const stopped = (await threeGroups(true)).files.get(FIRST)!
    const world = new World()
    world.put(new Map([[FIRST, Buffer.concat([stopped, Buffer.alloc(100)])]]))
    await world.open()
    t.ok(world.recovery.cleanStop, 'also behind a clean stop')
  },
)

t.test('any bit flipped: an error, or only the last group is gone', async (t) => {
  const { files, ends } = await threeGroups()
  const whole = files.get(FIRST)!
  const last = ends.at(-2)!
  const wrong: string[] = []
  for (let at = 0; at < whole.length; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const found = await outcome(files, FIRST, flipped(whole, at, bit))
      const fine = at < last ? found instanceof Error : found === '|abc'
      if (!fine) wrong.push(`byte ${at} bit ${bit}: ${found}`)
    }
  }
  t.same(wrong, [])
})

t.test('after a clean stop any bit flipped in any file is an error, the stop mark aside', async (t) => {
  const files = await withSnapshot()
  t.same([...files.keys()].sort(), [SECOND, SNAPSHOT])
  t.equal(await outcome(files), 'st|cd')
  const stopMark = files.get(SECOND)!.length - 24
  const wrong: string[] = []
  for (const [name, whole] of files) {
    for (let at = 0; at < whole.length; at += 1) {
      const found = await outcome(files, name, flipped(whole, at, at % 8))
      const isStop = name === SECOND && at >= stopMark
      const fine = isStop ? found === 'st|cd' : found instanceof Error
      if (!fine) wrong.push(`${name} byte ${at}: ${found}`)
    }
  }
  t.same(wrong, [])
})

t.test('a snapshot that is cut or continued, and a missing file, are errors', async (t) => {
  const files = await withSnapshot()
  const snapshot = files.get(SNAPSHOT)!
  for (let length = 0; length < snapshot.length; length += 1)
    if (!((await outcome(files, SNAPSHOT, snapshot.slice(0, length))) instanceof JournalDamagedError))
      t.fail(`cut at ${length}`)
  t.type(await outcome(files, SNAPSHOT, Buffer.concat([snapshot, Buffer.alloc(1)])), JournalDamagedError)
  t.match(await outcome(files, SECOND), { code: 'JOURNAL_DAMAGED', offset: 0, file: `data/${SECOND}` })
  t.match(await outcome(files, SNAPSHOT), { code: 'JOURNAL_DAMAGED', file: `data/${FIRST}` })
})

t.test('the error names file and offset', async (t) => {
  const { files, ends } = await threeGroups()
  const found = await outcome(files, FIRST, flipped(files.get(FIRST)!, ends[0]! + 30, 0))
  t.match(found, { code: 'JOURNAL_DAMAGED', file: `data/${FIRST}`, offset: ends[0] })
  t.match(
    String(found),
    new RegExp(`data/${FIRST} is damaged at byte ${ends[0]}: .*intact at byte ${ends[1]}`),
  )
})

t.test('an earlier segment that ends early, even between two groups, is an error', async (t) => {
  const world = new World()
  await world.open()
  await world.appendDurable('a')
  const end = world.file(FIRST).length
  await world.appendDurable('b')
  const writer = await world.run(world.journal.beginSnapshot())
  await world.appendDurable('c')
  await world.run(writer.abort())
  const files = world.copy()
  t.same([...files.keys()].sort(), [FIRST, SECOND])
  t.equal(await outcome(files), '|abc')
  const first = files.get(FIRST)!
  for (let length = 0; length < first.length; length += 1)
    if (!((await outcome(files, FIRST, first.slice(0, length))) instanceof JournalDamagedError))
      t.fail(`cut at ${length}`)
  t.match(await outcome(files, FIRST, first.slice(0, end)), { file: `data/${SECOND}` })
  t.type(await outcome(files, FIRST), JournalDamagedError, 'missing')

  const empty = new Map(files).set(SECOND, files.get(SECOND)!.slice(0, HEADER_BYTES))
  t.equal(await outcome(empty), '|ab', 'the next segment may be empty')
  t.match(await outcome(empty, FIRST, first.slice(0, end)), { file: `data/${SECOND}`, offset: 24 })
})

t.test('a later write is found wherever it lies', async (t) => {
  // The scan reads a chunk at a time: the mark of the later frame is put on every place around the border.
  for (let shift = -2; shift <= 10; shift += 1) {
    const world = new World()
    await world.open()
    const start = world.file(FIRST).length
    const overhead = FRAME_HEADER_BYTES + 4
    await world.run(
      world.journal.whenDurable(world.journal.append([new Uint8Array(READ_CHUNK_BYTES - overhead - shift)])),
    )
    await world.appendDurable('later')
    const bytes = world.file(FIRST).slice()
    bytes[start + 5]! ^= 1
    const found = await outcome(world.copy(), FIRST, bytes)
    t.match(String(found), `intact at byte ${start + READ_CHUNK_BYTES - shift}`)
  }
})

t.test('zeros are never a mark', async (t) => {
  t.equal(newMark({ bytes: (length) => new Uint8Array(length), uniform: () => 0 }), 1)
})

t.test('a segment whose creation was interrupted is created again', async (t) => {
  const { files } = await threeGroups(true)
  for (let length = 0; length <= HEADER_BYTES; length += 1) {
    const torn = new Map(files).set(SECOND, new Uint8Array(length))
    const found = await outcome(torn)
    if (found !== '|abcde') t.fail(`${length} bytes: ${found}`)
  }
  const garbage = new Map(files).set(SECOND, new Uint8Array(HEADER_BYTES + 1))
  t.type(
    await outcome(garbage),
    JournalDamagedError,
    'nothing is written behind a header that is not durable',
  )
})

t.test('what a crash around a snapshot leaves behind is tidied up', async (t) => {
  const old = (await threeGroups(true)).files
  const files = await withSnapshot()
  files.set(FIRST, old.get(FIRST)!)
  files.set('snapshot-0000000000000001.snap', new Uint8Array(3))
  files.set('snapshot-0000000000000003.snap.tmp', new Uint8Array(3))
  files.set('lock', encode('somebody else owns this'))
  files.set('journal-backup.log', encode('so is this'))
  const world = new World()
  world.put(files)
  await world.open()
  t.same(world.names(), [SECOND, 'journal-backup.log', 'lock', SNAPSHOT])
})

t.test('a later format is refused by its number', async (t) => {
  const files = await withSnapshot()
  for (const [name, bytes] of files) {
    const later = bytes.slice()
    const view = new DataView(later.buffer)
    view.setUint32(8, 7, true)
    view.setUint32(12, crc32(later.subarray(0, 12)), true)
    t.match(await outcome(files, name, later), {
      code: 'JOURNAL_FORMAT_UNKNOWN',
      version: 7,
      file: `data/${name}`,
    })
  }
})

t.test('records that imitate frames do not make a torn tail look like damage', async (t) => {
  const world = new World()
  await world.open()
  await world.appendDurable('a')
  const copied = world.file(FIRST).slice()
  // The last group is torn, and holds whole frames of this very file: of an earlier group.
  await world.run(world.journal.whenDurable(world.journal.append([copied, new Uint8Array(50)])))
  const whole = world.file(FIRST)
  t.equal(await outcome(world.copy(), FIRST, whole.slice(0, -1)), '|a')
})

t.test(
  'a power cut within a large group, in any order of its frames, loses the group and no more',
  async (t) => {
    const world = new World()
    await world.open()
    await world.appendDurable('a')
    const start = world.file(FIRST).length
    const large = Array.from({ length: 9 }, (_, at) => new Uint8Array(100_000).fill(at))
    await world.run(world.journal.whenDurable(world.journal.append(large)))
    const files = world.copy()
    const whole = files.get(FIRST)!
    t.ok(whole.length > 900_000)
    for (const hole of [start, start + 300_000, whole.length - 5]) {
      const damaged = whole.slice().fill(0, hole, hole + 4)
      t.equal(await outcome(files, FIRST, damaged), '|a', `hole at ${hole}`)
    }
    await world.appendDurable('b')
    const later = world.copy()
    const damaged = world
      .file(FIRST)
      .slice()
      .fill(0, start + 300_000, start + 300_004)
    t.type(
      await outcome(later, FIRST, damaged),
      JournalDamagedError,
      'a later group proves that it was durable',
    )
  },
)
