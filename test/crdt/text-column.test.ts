import fc from 'fast-check'
import t from 'tap'
import { Float64Column } from '../../src/crdt/column.js'
import { TextColumn } from '../../src/crdt/text-column.js'

const text = fc.oneof(
  fc.string({ maxLength: 40, unit: 'binary' }),
  fc.string({ maxLength: 40, unit: 'grapheme-ascii' }),
  fc.constantFrom('', 'ÿ', 'Ā', '\ud800', 'a\udc00b', '😀'),
  fc.integer({ min: 0, max: 1024 }).map((length) => 'x'.repeat(length)),
  fc.integer({ min: 0, max: 1024 }).map((length) => '€'.repeat(length)),
)

/** A column and how to add a row to it. */
function textColumn(): { column: TextColumn; push(value: string): number } {
  const places = new Float64Column()
  const column = new TextColumn(places)
  const push = (value: string) => {
    const row = places.push(0)
    column.set(row, value)
    return row
  }
  return { column, push }
}

t.test('a column of texts is an array of strings', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(60), text), { maxLength: 200 }),
      fc.array(text, { maxLength: 10 }),
      (writes, others) => {
        const { column, push } = textColumn()
        const twin: string[] = []
        for (const [row, value] of writes) {
          if (row < twin.length) {
            column.set(row, value)
            twin[row] = value
          } else if (push(value) !== twin.push(value) - 1) return false
        }
        return twin.every(
          (value, row) =>
            column.get(row) === value &&
            column.equals(row, value) &&
            [...others, ...twin].every((other) => column.equals(row, other) === (other === value)),
        )
      },
    ),
  )
})

t.test('it grows over many chunks without a text across two of them', async (t) => {
  const { column, push } = textColumn()
  const value = (row: number) => `${row}:${'y'.repeat(row % 1000)}`
  for (let row = 0; row < 5000; row++) push(value(row))
  let wrong = 0
  for (let row = 0; row < 5000; row++) if (column.get(row) !== value(row)) wrong += 1
  t.equal(wrong, 0)
})

t.test('rows used again take no more memory than the longest text they had', async (t) => {
  const { column, push } = textColumn()
  push('')
  const chunks = (column as unknown as { chunks: Buffer[] }).chunks
  for (let round = 0; round < 20_000; round++) column.set(0, 'x'.repeat(round % 3 === 0 ? 1000 : round % 50))
  t.equal(chunks.length, 1)
  t.ok(chunks[0]!.length <= 4096)
  t.throws(() => column.set(0, '€'.repeat(2048)), RangeError)
})
