import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { type Cell, CellKind, type Delta } from '../../src/crdt/cell.js'
import { deltaFromTuple, deltaToTuple } from '../../src/crdt/delta-codec.js'
import { cellBytes, cutCells } from '../../src/crdt/delta-size.js'
import {
  MAX_GRANTS,
  MAX_KEY_LENGTH,
  MAX_NAMESPACE_LENGTH,
  MAX_REPLICA_LENGTH,
} from '../../src/crdt/limits.js'
import { FrameError } from '../../src/sync/errors.js'
import { encodeMessage } from '../../src/wire/encode.js'
import { decodeTuple } from '../../src/wire/safe-cbor.js'
import { MAX_MESSAGE_BYTES, type WireValue } from '../../src/wire/wire-value.js'
import { delta } from './arbitraries.js'

/** Byte strings come back as some kind of Uint8Array; which one does not matter. */
function bytesAsText(value: unknown): unknown {
  if (value instanceof Uint8Array) return `bytes ${Array.from(value).join()}`
  if (Array.isArray(value)) return value.map(bytesAsText)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, bytesAsText(inner)]))
}

t.test('what is encoded is what is decoded', async (t) => {
  fc.assert(
    fc.property(delta, (given) => {
      const decoded = deltaFromTuple(decodeTuple(encodeMessage(deltaToTuple(given))))
      assert.deepEqual(bytesAsText(decoded), bytesAsText(given))
    }),
    { numRuns: 500 },
  )
  t.pass('round trips')
})

t.test('sizes are estimated well enough to cut by', async (t) => {
  fc.assert(
    fc.property(delta, (given) => {
      const bytes = encodeMessage(deltaToTuple(given)).length
      const estimate = given.cells.reduce((sum, cell) => sum + cellBytes(cell), 100)
      // Keys may be up to three bytes a character, which the estimate leaves out.
      assert.ok(bytes <= 3 * estimate, `${bytes} bytes, estimated ${estimate}`)
    }),
  )
  const replica = 'x'.repeat(MAX_REPLICA_LENGTH - 4)
  const granted = Array.from(
    { length: MAX_GRANTS },
    (_, row) => [`${replica}${1000 + row}`, 2n ** 60n] as const,
  )
  const value = { deposited: 2n ** 1023n, withdrawn: 2n ** 1023n, compensated: 2n ** 1023n, granted }
  const cell: Cell = {
    kind: 0,
    number: 1,
    namespace: '€'.repeat(MAX_NAMESPACE_LENGTH),
    key: '€'.repeat(MAX_KEY_LENGTH),
    value,
  }
  const largest = { partition: 'p', replica, from: 0, to: 1, horizon: 1, repair: false, cells: [cell] }
  t.ok(
    encodeMessage(deltaToTuple(largest)).length < MAX_MESSAGE_BYTES - 100 * 1024,
    'the largest counter fits with room',
  )
})

t.test('unnumbered cells are cut between batches only', async (t) => {
  const cell = (number: number): Cell => ({
    kind: 1,
    number,
    namespace: '',
    key: 'k',
    value: [0, 'x'.repeat(20)],
  })
  const numbers = [0, 0, 1, 1, 1, 2, 2, 0, 3, 3]
  const runs = cutCells(numbers.map(cell), 80)
  t.same(
    runs.map((run) => run.map(({ number }) => number)),
    [[0], [0], [1, 1, 1], [2, 2], [0], [3, 3]],
  )
})

const honest = (): Delta => ({
  partition: 'p',
  replica: 'a@1',
  from: 1,
  to: 5,
  horizon: 5,
  repair: false,
  cells: [
    {
      kind: CellKind.counter,
      number: 2,
      namespace: 's',
      key: 'k',
      value: {
        deposited: 1,
        withdrawn: 1,
        compensated: 1,
        granted: [
          ['b@1', 1],
          ['c@1', 1],
        ],
      },
    },
    { kind: CellKind.register, number: 4, namespace: '', key: 'k', value: [0, 'x'], keepUntilMs: 5 },
  ],
  batches: [
    [2, 3],
    [4, 5],
  ],
})

/** The honest delta's tuple with one place changed. */
function changed(path: readonly number[], value: unknown): WireValue[] {
  const tuple = JSON.parse(JSON.stringify(deltaToTuple(honest())))
  let place = tuple
  for (const step of path.slice(0, -1)) place = place[step]
  if (value === undefined) place.splice(path.at(-1)!, 1)
  else place[path.at(-1)!] = value
  return tuple
}

t.test('hostile tuples are refused with a FrameError', async (t) => {
  const long = (length: number) => 'x'.repeat(length + 1)
  const bad: [string, readonly number[], unknown][] = [
    ['partition no text', [1], 5],
    ['partition too long', [1], long(128)],
    ['replica null', [2], null],
    ['replica too long', [2], long(MAX_REPLICA_LENGTH)],
    ['from negative', [3], -1],
    ['from fractional', [3], 0.5],
    ['from NaN', [3], Number.NaN],
    ['from beyond', [3], 5],
    ['to below a cell', [4], 3],
    ['to unsafe', [4], 2 ** 53],
    ['horizon below to', [5], 4],
    ['repair a number', [6], 1],
    ['cells no array', [7], 'x'],
    ['no cells', [7], null],
    ['a cell of nothing', [7, 0], []],
    ['kind 64', [7, 0, 0], 64],
    ['kind negative', [7, 0, 0], -1],
    ['cell number at from', [7, 0, 1], 1],
    ['numbers descend', [7, 0, 1], 4],
    ['above to', [7, 1, 1], 6],
    ['namespace too long', [7, 0, 2], long(MAX_NAMESPACE_LENGTH)],
    ['key too long', [7, 0, 3], long(MAX_KEY_LENGTH)],
    ['key no text', [7, 0, 3], 7],
    ['deposited negative', [7, 0, 4], -1],
    ['deposited fractional', [7, 0, 4], 1.5],
    ['deposited infinite', [7, 0, 4], Number.POSITIVE_INFINITY],
    ['deposited empty bytes', [7, 0, 4], new Uint8Array(0)],
    ['deposited small bytes', [7, 0, 4], Uint8Array.of(5)],
    ['deposited 129 bytes', [7, 0, 4], new Uint8Array(129).fill(1)],
    ['withdrawn text', [7, 0, 5], '1'],
    ['compensated null', [7, 0, 6], null],
    ['grants odd', [7, 0, 7], ['b@1']],
    ['grants unsorted', [7, 0, 7], ['c@1', 1, 'b@1', 1]],
    ['grants twice', [7, 0, 7], ['b@1', 1, 'b@1', 1]],
    ['grant negative', [7, 0, 7, 1], -1],
    ['object value empty', [7, 1, 4], []],
    ['object value no array', [7, 1, 4], 'x'],
    ['expires negative', [7, 1, 4, 0], -1],
    ['expires text', [7, 1, 4, 0], 'x'],
    ['keep until text', [7, 1, 5], 'x'],
    ['batches odd', [8], [2]],
    ['batch of one', [8], [2, 2]],
    ['batch backwards', [8], [3, 2]],
    ['batch beyond to', [8], [4, 6]],
    ['batch at from', [8], [1, 3]],
    ['batches overlap', [8], [2, 4, 3, 5]],
    ['batches no array', [8], 'x'],
  ]
  t.doesNotThrow(() => deltaFromTuple(changed([1], 'q')))
  for (const [name, path, value] of bad)
    t.throws(() => deltaFromTuple(changed(path, value)), FrameError, name)
  const enormous = {
    ...honest(),
    from: 0,
    to: 20_000,
    horizon: 20_000,
    batches: [[1, 257]] as [number, number][],
  }
  t.throws(() => deltaFromTuple(deltaToTuple(enormous)), FrameError, 'a batch of too many')
  for (let length = 0; length < 8; length++) {
    t.throws(() => deltaFromTuple(deltaToTuple(honest()).slice(0, length)), FrameError, `${length} fields`)
  }
})

t.test('any tuple at all is a delta or a FrameError', async (t) => {
  const value = fc.anything({ withBigInt: false, withDate: false, maxDepth: 3 }) as fc.Arbitrary<WireValue>
  const paths = fc.array(fc.nat(8), { minLength: 1, maxLength: 3 })
  fc.assert(
    fc.property(paths, value, (path, given) => {
      try {
        const decoded = deltaFromTuple(changed(path, given ?? null))
        assert.ok(decoded.to > decoded.from)
      } catch (error) {
        if (error instanceof TypeError && path.length > 1) return // the path does not exist
        assert.ok(error instanceof FrameError, String(error))
      }
    }),
    { numRuns: 2000 },
  )
  t.pass('nothing else came out')
})
