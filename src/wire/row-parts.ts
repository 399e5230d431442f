/** Rows about one partition, in a message that may be about several. */
export interface RowsOf<Row> {
  readonly partition: string
  readonly rows: readonly Row[]
}

/**
 * Cuts a list so that each part fits one message of `maxRows`; a partition's name counts as a row. There is always
 * one part, if only an empty one.
 */
export function inParts<Row>(partitions: Iterable<RowsOf<Row>>, maxRows: number): RowsOf<Row>[][] {
  const parts: RowsOf<Row>[][] = [[]]
  let room = maxRows
  for (const { partition, rows } of partitions) {
    let start = 0
    do {
      if (room <= 1) {
        parts.push([])
        room = maxRows
      }
      const taken = rows.slice(start, start + room - 1)
      parts.at(-1)!.push({ partition, rows: taken })
      start += taken.length
      room -= taken.length + 1
    } while (start < rows.length)
  }
  return parts
}
