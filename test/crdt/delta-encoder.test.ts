import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import type { Cell, Delta } from '../../src/crdt/cell.js'
import { deltaToTuple } from '../../src/crdt/delta-codec.js'
import { encodeDelta } from '../../src/crdt/delta-encoder.js'
import { InvalidArgumentError } from '../../src/sync/errors.js'
import { encodeMessage } from '../../src/wire/encode.js'
import { delta } from './arbitraries.js'

const plain = (given: Delta) => encodeMessage(deltaToTuple(given))
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** A delta of one counter, changed as asked. */
function one(cell: Partial<Cell> & object, rest: Partial<Delta> = {}): Delta {
  const value = { deposited: 1, withdrawn: 0, compensated: 0, granted: [] }
  const whole = { kind: 0, number: 1, namespace: 'vault', key: 'minecraft:dirt', value, ...cell } as Cell
  return { partition: '', replica: 'r', from: 0, to: 1, horizon: 1, repair: false, cells: [whole], ...rest }
}

t.test('the bytes are those of the plain encoder', async (t) => {
  fc.assert(
    fc.property(delta, (given) => assert.equal(hex(encodeDelta(given)), hex(plain(given)))),
    { numRuns: 1000 },
  )
  const heads = [0, 1, 23, 24, 31, 32, 255, 256, 65_535, 65_536, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1]
  for (const deposited of [...heads, 2n ** 53n, 2n ** 64n, 2n ** 1000n]) {
    const value = { deposited, withdrawn: deposited, compensated: deposited, granted: [['r', deposited]] }
    const given = one({ value } as unknown as Partial<Cell>)
    t.equal(hex(encodeDelta(given)), hex(plain(given)), `quantities of ${deposited}`)
  }
  for (const length of [0, 1, 7, 8, 23, 24, 31, 32, 84, 85, 86, 127, 128, 255, 256, 1024]) {
    for (const letter of ['x', 'é', '€', '😀']) {
      const given = one({ key: letter.repeat(length) })
      t.equal(hex(encodeDelta(given)), hex(plain(given)), `a key of ${length} ${letter}`)
    }
  }
  const many = Array.from({ length: 3000 }, (_, row) => one({ number: row + 1, key: `k${row}` }).cells[0]!)
  const given = one({}, { cells: many, to: 3000, horizon: 70_000, repair: true })
  t.equal(hex(encodeDelta(given)), hex(plain(given)), 'a long one')
})

t.test('the result is the caller’s own', async (t) => {
  const first = encodeDelta(one({}))
  const copy = hex(first)
  encodeDelta(one({ key: 'other' }))
  t.equal(hex(first), copy)
  t.equal(first.buffer.byteLength, first.length)
})

t.test('what readers would refuse is refused here', async (t) => {
  const refused = [
    one({ key: '\ud800' }),
    one({ namespace: 'a\udc00' }),
    one({ number: -1 }),
    one({ number: 1.5 }),
    one({ number: 2 ** 53 }),
    one({}, { cells: Array.from({ length: 300 }, () => one({ key: 'x'.repeat(1000) }).cells[0]!) }),
  ]
  for (const [position, given] of refused.entries()) {
    t.throws(() => encodeDelta(given), InvalidArgumentError, `case ${position}`)
  }
})
