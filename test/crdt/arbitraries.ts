import fc from 'fast-check'
import { type Cell, CellKind, type Delta, type ObjectValue } from '../../src/crdt/cell.js'
import { narrowQuantity } from '../../src/crdt/column.js'
import type { WireValue } from '../../src/wire/wire-value.js'

export const quantity = fc.oneof(
  fc.nat(1000),
  fc.maxSafeNat(),
  fc.bigInt({ min: 0n, max: 2n ** 512n }).map(narrowQuantity),
)
const text = (maxLength: number) => fc.string({ maxLength, unit: 'grapheme' })
const wireValue: fc.Arbitrary<WireValue> = fc.letrec<{ value: WireValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 2 },
    fc.maxSafeInteger().map((number) => (number === 0 ? 0 : number)),
    fc.boolean(),
    fc.constant(null),
    text(5),
    fc.uint8Array({ maxLength: 5 }),
    fc.array(tie('value'), { maxLength: 3 }),
  ),
})).value
const granted = fc
  .uniqueArray(fc.tuple(fc.string({ minLength: 1, maxLength: 5 }), quantity), {
    selector: ([id]) => id,
    maxLength: 3,
  })
  .map((pairs) => pairs.sort(([left], [right]) => (left < right ? -1 : 1)))
const counter = fc.record(
  { deposited: quantity, withdrawn: quantity, compensated: quantity, granted },
  { noNullPrototype: true },
)
const object = fc
  .tuple(fc.nat(), fc.array(wireValue, { maxLength: 3 }))
  .map(([expires, rest]) => [expires, ...rest] as ObjectValue)

function cell(number: number): fc.Arbitrary<Cell> {
  const head = { number: fc.constant(number), namespace: text(5), key: text(8) }
  return fc.oneof(
    fc.record({ ...head, kind: fc.constant(CellKind.counter), value: counter }, { noNullPrototype: true }),
    fc.record(
      { ...head, kind: fc.integer({ min: 1, max: 63 }), value: object, keepUntilMs: fc.nat() },
      { requiredKeys: ['number', 'namespace', 'key', 'kind', 'value'], noNullPrototype: true },
    ),
  ) as fc.Arbitrary<Cell>
}

/** A well-formed delta. */
export const delta: fc.Arbitrary<Delta> = fc
  .record({
    from: fc.nat(1000),
    gaps: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 8 }),
    beyond: fc.nat(5),
    repair: fc.boolean(),
    batched: fc.boolean(),
  })
  .chain(({ from, gaps, beyond, repair, batched }) => {
    let number = from
    const numbers = gaps.map((gap) => (number += gap))
    const to = number + beyond
    const batches: [number, number][] = batched && numbers.length > 1 ? [[numbers[0]!, numbers[1]!]] : []
    return fc.record(
      {
        partition: text(10),
        replica: fc.string({ minLength: 1, maxLength: 20 }),
        from: fc.constant(from),
        to: fc.constant(to),
        horizon: fc.nat(10).map((more) => to + more),
        repair: fc.constant(repair),
        cells: fc.tuple(...numbers.map(cell)),
        ...(batches.length > 0 && { batches: fc.constant(batches) }),
      },
      { noNullPrototype: true },
    ) as fc.Arbitrary<Delta>
  })
