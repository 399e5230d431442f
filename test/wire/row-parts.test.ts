import fc from 'fast-check'
import t from 'tap'
import { inParts } from '../../src/wire/row-parts.js'

const MAX_ROWS = 8
const list = fc.uniqueArray(
  fc.record({ partition: fc.string({ maxLength: 3 }), rows: fc.array(fc.nat(), { maxLength: 30 }) }),
  { selector: ({ partition }) => partition, maxLength: 12 },
)

t.test('parts hold all rows in order, and none is larger than a message', async () => {
  fc.assert(
    fc.property(list, (partitions) => {
      const parts = inParts(partitions, MAX_ROWS)
      const joined = new Map<string, number[]>()
      for (const part of parts) {
        const size = part.reduce((sum, { rows }) => sum + rows.length + 1, 0)
        if (size > MAX_ROWS) return false
        for (const { partition, rows } of part)
          joined.set(partition, [...(joined.get(partition) ?? []), ...rows])
      }
      const whole = new Map(partitions.map(({ partition, rows }) => [partition, rows]))
      return parts.length >= 1 && JSON.stringify([...joined]) === JSON.stringify([...whole])
    }),
  )
})
