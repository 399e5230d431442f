import fc from 'fast-check'
import t from 'tap'
import { FrameError, InvalidArgumentError } from '../../src/sync/errors.js'
import { encodeMessage } from '../../src/wire/encode.js'
import {
  bigintToWire,
  expectArray,
  expectBigint,
  expectBoolean,
  expectBytes,
  expectBytesOf,
  expectInteger,
  expectNumber,
  expectString,
  expectTuple,
  expectUint,
} from '../../src/wire/expect.js'
import { decodeTuple, messageTypeOf, scanCbor } from '../../src/wire/safe-cbor.js'
import { MAX_DEPTH, MAX_ITEMS, MAX_MESSAGE_BYTES, type WireValue } from '../../src/wire/wire-value.js'

const wireValue = fc.letrec<{ value: WireValue; array: WireValue[] }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.maxSafeInteger().filter((value) => !Object.is(value, -0)),
    fc.nat(),
    fc.double({ noInteger: true }),
    fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
    fc.string({ unit: 'binary' }),
    fc.string({ minLength: 60, maxLength: 300, unit: 'binary' }),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 300 }),
    tie('array'),
  ) as fc.Arbitrary<WireValue>,
  array: fc.array(tie('value'), { maxLength: 40 }) as fc.Arbitrary<WireValue[]>,
}))
const tuple = fc
  .tuple(fc.nat({ max: 255 }), wireValue.array)
  .map(([type, rest]): WireValue[] => [type, ...rest])

t.test('what is encoded comes back, and its type is found without decoding', async (t) => {
  fc.assert(
    fc.property(tuple, (value) => {
      const bytes = encodeMessage(value)
      t.same(decodeTuple(bytes), value)
      if (messageTypeOf(bytes) !== value[0]) throw new Error('type')
    }),
    { numRuns: 500 },
  )
})

t.test('an encoded message stays as it is', async (t) => {
  const first = encodeMessage([9, 'first'])
  const copy = Uint8Array.from(first)
  for (let round = 0; round < 5000; round++) encodeMessage([10, 'later', round, 'x'.repeat(round % 300)])
  t.same(first, copy)
  t.equal(first.buffer.byteLength, first.length, 'and keeps no larger buffer alive')
})

t.test('a decoded byte string does not keep its frame alive', async (t) => {
  const [, bytes] = decodeTuple(encodeMessage([9, new Uint8Array(10), 'x'.repeat(10_000)]))
  t.ok((bytes as Uint8Array).buffer.byteLength < 10_000)
})

t.test('values that the other side would refuse are refused where they arise', async (t) => {
  const bad: unknown[] = [
    undefined,
    5n,
    { a: 1 },
    new Map(),
    () => 1,
    Symbol('x'),
    2 ** 53,
    -(2 ** 60),
    'lone \ud800 surrogate',
    '\udc00',
    ['deep', ['\ud800']],
    new Date(),
  ]
  for (const value of bad) t.throws(() => encodeMessage([8, value as WireValue]), InvalidArgumentError)
  let deep: WireValue = []
  for (let depth = 0; depth < MAX_DEPTH; depth++) deep = [deep]
  t.throws(() => encodeMessage([deep]), InvalidArgumentError)
  t.throws(() => encodeMessage([8, 'x'.repeat(MAX_MESSAGE_BYTES)]), InvalidArgumentError)
})

t.test('the scan refuses everything outside the subset', async (t) => {
  const cases: [string, string, RegExp][] = [
    ['nothing', '', /not a CBOR array/],
    ['not an array', '01', /not a CBOR array/],
    ['tag 2, a bignum', '8208c243010000', /tags/],
    ['tag 27', '8208d81b80', /tags/],
    ['a record definition of cbor-x', '8208d9dfff83196904816161f6', /tags/],
    ['map', '8208a10102', /maps/],
    ['indefinite array', '9f08ff', /indefinite/],
    ['indefinite string', '82087f6161ff', /indefinite/],
    ['indefinite bytes', '82085f4161ff', /indefinite/],
    ['break', '8208ff', /simple/],
    ['undefined', '8208f7', /simple/],
    ['simple value 99', '8208f863', /simple/],
    ['half float', '8208f93c00', /simple/],
    ['single float', '8208fa3f800000', /simple/],
    ['reserved head', '82081c', /indefinite|reserved/],
    ['integer over 53 bits', '82081b0020000000000000', /53 bits/],
    ['negative over 53 bits', '82083b0020000000000000', /53 bits/],
    ['a double of 2^53', '8208fb4340000000000000', /53 bits/],
    ['a double of -1e300', '8208fbfe37e43c8800759c', /53 bits/],
    ['long form of a small integer', '82081817', /longer than/],
    ['long form of 255', '82081900ff', /longer than/],
    ['long form of 65535', '82081a0000ffff', /longer than/],
    ['long form of 2^32 - 1', '82081b00000000ffffffff', /longer than/],
    ['text that is not UTF-8', '820861ff', /UTF-8/],
    ['an encoded surrogate', '820863eda080', /UTF-8/],
    ['length beyond the end', '82085affffffff', /beyond/],
    ['array of four billion', '82089affffffff', /beyond/],
    ['array of 2^53', '82089b001fffffffffffff', /beyond/],
    ['cut in a head', '820819', /short/],
    ['cut in a float', '8208fb3ff0', /short/],
    ['missing element', '828108', /short/],
    ['something behind it', '810800', /after the end/],
    ['too deep', `8208${'81'.repeat(MAX_DEPTH)}00`, /deeper/],
  ]
  for (const [name, hex, message] of cases) {
    t.throws(() => decodeTuple(Buffer.from(hex, 'hex')), { code: 'FRAME_MALFORMED', message }, name)
  }
  t.same(decodeTuple(Buffer.from('82081b001fffffffffffff', 'hex')), [8, Number.MAX_SAFE_INTEGER])
  t.same(decodeTuple(Buffer.from('82083b001ffffffffffffe', 'hex')), [8, Number.MIN_SAFE_INTEGER])
  const crowded = new Uint8Array(MAX_ITEMS + 6).fill(0)
  crowded.set([0x9a, 0, (MAX_ITEMS + 1) >> 16, ((MAX_ITEMS + 1) >> 8) & 0xff, (MAX_ITEMS + 1) & 0xff])
  t.throws(() => scanCbor(crowded), /more than/)
})

t.test('random and mutated bytes only ever give a value or a FrameError', async (t) => {
  const attempt = (bytes: Uint8Array) => {
    try {
      return decodeTuple(bytes)
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      return undefined
    }
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void attempt(bytes)),
    { numRuns: 5000 },
  )
  let accepted = 0
  fc.assert(
    fc.property(tuple, fc.nat(), fc.nat({ max: 255 }), (value, place, byte) => {
      const bytes = encodeMessage(value)
      bytes[place % bytes.length] = byte
      const decoded = attempt(bytes)
      if (decoded === undefined) return
      accepted += 1
      // Whatever passes is in the subset: it can be encoded again and means the same.
      t.same(decodeTuple(encodeMessage(decoded)), decoded)
    }),
    { numRuns: 2000 },
  )
  t.ok(accepted > 50, 'some mutations are harmless values')
})

t.test('message types', async (t) => {
  t.equal(messageTypeOf(Buffer.from('8118ff', 'hex')), 255)
  t.equal(messageTypeOf(encodeMessage([7, ...new Array(30).fill(1)])), 7)
  t.equal(messageTypeOf(encodeMessage([200, ...new Array(300).fill(1)])), 200)
  t.equal(messageTypeOf(encodeMessage([200, ...new Array(70_000).fill(1)])), 200)
  for (const hex of ['', '80', '81', '8120', '8118', '811817', '81190100', '816161', '9800', 'ff', '00']) {
    t.throws(() => messageTypeOf(Buffer.from(hex, 'hex')), FrameError, hex)
  }
})

t.test('schema checks', async (t) => {
  t.equal(expectString('ab', 2, 'f'), 'ab')
  t.equal(expectUint(5, 'f', 5), 5)
  t.equal(expectInteger(-5, 'f'), -5)
  t.equal(expectNumber(0.5, 'f'), 0.5)
  t.equal(expectBoolean(false, 'f'), false)
  t.same(expectBytes(new Uint8Array(2), 2, 'f'), new Uint8Array(2))
  t.same(expectBytesOf(new Uint8Array(2), 2, 'f'), new Uint8Array(2))
  t.same(expectArray([1], 1, 'f'), [1])
  t.same(expectTuple([1, 2], 1, 'f'), [1, 2])
  const wrong: (() => unknown)[] = [
    () => expectString(5, 2, 'field'),
    () => expectString('abc', 2, 'field'),
    () => expectString(undefined, 2, 'field'),
    () => expectUint(-1, 'field'),
    () => expectUint(0.5, 'field'),
    () => expectUint(6, 'field', 5),
    () => expectUint('5', 'field'),
    () => expectUint(2 ** 53, 'field'),
    () => expectInteger(Number.NaN, 'field'),
    () => expectNumber(Number.NaN, 'field'),
    () => expectNumber(Number.POSITIVE_INFINITY, 'field'),
    () => expectBoolean(null, 'field'),
    () => expectBytes([1], 5, 'field'),
    () => expectBytes(new Uint8Array(3), 2, 'field'),
    () => expectBytesOf(new Uint8Array(1), 2, 'field'),
    () => expectArray('abc', 5, 'field'),
    () => expectArray([1, 2], 1, 'field'),
    () => expectTuple([1], 2, 'field'),
    () => expectTuple(null, 0, 'field'),
    () => expectBigint(-1, 'field'),
    () => expectBigint(new Uint8Array([0, 255]), 'field'),
    () => expectBigint(new Uint8Array([5]), 'field'),
    () => expectBigint(new Uint8Array(0), 'field'),
    () => expectBigint(new Uint8Array(200).fill(1), 'field'),
  ]
  for (const check of wrong) t.throws(check, { code: 'FRAME_MALFORMED', message: /^field: / })
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 1024n - 1n }), (value) => {
      const [, wire] = decodeTuple(encodeMessage([8, bigintToWire(value)]))
      if (expectBigint(wire, 'f') !== value) throw new Error(String(value))
    }),
  )
  t.throws(() => bigintToWire(-1n), InvalidArgumentError)
  t.throws(() => bigintToWire(2n ** 1024n), InvalidArgumentError)
})
