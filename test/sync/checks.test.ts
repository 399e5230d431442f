import fc from 'fast-check'
import t from 'tap'
import {
  AMOUNT_LIMIT,
  checkAmount,
  checkClusterId,
  checkServerId,
  checkStorageId,
  checkWorldId,
} from '../../src/sync/checks.js'
import { InvalidArgumentError } from '../../src/sync/errors.js'

t.test('amounts are positive and whole', async (t) => {
  for (const amount of [1, 64, Number.MAX_SAFE_INTEGER, 1n, 2n ** 64n, AMOUNT_LIMIT - 1n]) {
    t.equal(checkAmount(amount), amount)
  }
  const refused: [unknown, RegExp][] = [
    [0, /not positive/],
    [-0, /not positive/],
    [-1, /not positive/],
    [0.5, /whole number/],
    [-0.5, /not positive/],
    [Number.NaN, /finite/],
    [Number.POSITIVE_INFINITY, /finite/],
    [Number.NEGATIVE_INFINITY, /finite/],
    [2 ** 53, /give a bigint/],
    [0n, /not positive/],
    [-1n, /not positive/],
    [-(2n ** 2000n), /not positive/],
    [AMOUNT_LIMIT, /512 bits/],
    ['5', /got a text/],
    [undefined, /undefined/],
    [null, /null/],
    [{}, /object/],
    [[5], /object/],
    [true, /boolean/],
  ]
  for (const [amount, reason] of refused) {
    t.throws(() => checkAmount(amount as number), InvalidArgumentError, String(amount))
    t.throws(() => checkAmount(amount as number), { message: reason }, String(amount))
  }
})

t.test('ids', async (t) => {
  for (const check of [checkServerId, checkClusterId, checkStorageId, checkWorldId]) {
    for (const id of ['a', 'lobby-1', 'A.b_c', '9', 'x'.repeat(64)]) t.equal(check(id), id)
    for (const id of [
      '',
      '-a',
      '.',
      '..',
      ' a',
      'a ',
      'a b',
      'a\n',
      'a\u0000',
      'ä',
      'a@b',
      'x'.repeat(129),
      5,
      null,
    ]) {
      t.throws(() => check(id), InvalidArgumentError, `${check.name} ${id}`)
    }
  }
  for (const id of ['minecraft:overworld', 'island/12', 'x'.repeat(128)]) {
    t.equal(checkStorageId(id), id)
    t.equal(checkWorldId(id), id)
    t.throws(() => checkServerId(id), InvalidArgumentError)
    t.throws(() => checkClusterId(id), InvalidArgumentError)
  }
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 5 }), (id) => {
      try {
        t.match(checkServerId(id), /^[\w.-]+$/)
      } catch (error) {
        t.ok(error instanceof InvalidArgumentError)
      }
    }),
  )
})
