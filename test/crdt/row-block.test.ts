import fc from 'fast-check'
import t from 'tap'
import { RowBlock } from '../../src/crdt/row-block.js'

t.test('fields of a block are columns that do not touch each other, over many chunks', async () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.nat(70_000),
          fc.constantFrom(0, 1, 2, 3),
          fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
        ),
        { maxLength: 300 },
      ),
      (writes) => {
        const block = new RowBlock(24)
        const fields = [block.float64(0), block.float64(8), block.int32(16), block.int32(20)]
        for (let row = 0; row <= 70_000; row++) if (block.push() !== row) return false
        const twins = fields.map(() => new Map<number, number>())
        for (const [row, field, value] of writes) {
          const stored = field < 2 ? value * 1.5 : value
          fields[field]!.set(row, stored)
          twins[field]!.set(row, stored)
        }
        return writes.every(([row]) =>
          fields.every((field, position) => field.get(row) === (twins[position]!.get(row) ?? 0)),
        )
      },
    ),
    { numRuns: 25 },
  )
})
