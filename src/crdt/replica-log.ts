import { assertInvariant } from '../sync/errors.js'

/** Rows per segment: the unit in which space of overwritten rows is reclaimed. */
const SEGMENT_ROWS = 512

/** Tells whether `row` still is the latest write of its cell, i.e. still carries `number`. */
export type LivenessCheck = (row: number, number: number) => boolean

interface Segment {
  readonly numbers: Float64Array
  readonly rows: Int32Array
  length: number
  live: number
}

/**
 * The cells of one replica in the order of their numbers, so that a delta is read off without scanning the
 * state. An overwritten cell's old position goes stale in place; segments that have become sparse are
 * merged with a neighbour, which bounds both the space (about twice the live rows) and the work per write.
 */
export class ReplicaLog {
  private readonly segments: Segment[] = []

  constructor(private readonly isLive: LivenessCheck) {}

  get lastNumber(): number {
    const last = this.segments.at(-1)
    return last ? last.numbers[last.length - 1]! : 0
  }

  /** Appends a write whose number is above all others. */
  append(number: number, row: number): void {
    assertInvariant(number > this.lastNumber, 'D1', `write ${number} appended after ${this.lastNumber}`)
    let tail = this.segments.at(-1)
    if (!tail || tail.length === SEGMENT_ROWS) {
      const before = this.segments.length - 1
      const isSparse = tail !== undefined && tail.live <= SEGMENT_ROWS / 2
      tail = emptySegment()
      this.segments.push(tail)
      // Its rows may all be stale already, and then nothing would ever come by here again.
      if (isSparse) this.compact(before)
    }
    tail.numbers[tail.length] = number
    tail.rows[tail.length] = row
    tail.length += 1
    tail.live += 1
  }

  /** Notes that the cell which stood at `number` has been overwritten or removed. */
  markStale(number: number): void {
    const position = this.segmentOf(number)
    const segment = this.segments[position]
    if (!segment) return
    segment.live -= 1
    if (segment.live <= SEGMENT_ROWS / 2) this.compact(position)
  }

  private compact(position: number): void {
    const isTail = position === this.segments.length - 1
    if (this.segments[position]!.live === 0 && !isTail) this.segments.splice(position, 1)
    else this.mergeWithNeighbour(position)
  }

  /** Inserts a write below the last number, which only a repair does. Costs one segment, not the log. */
  insert(number: number, row: number): void {
    const position = this.segmentOf(number)
    const segment = this.segments[position]
    assertInvariant(segment !== undefined, 'D1', `write ${number} inserted after ${this.lastNumber}`)
    const numbers: number[] = []
    const rows: number[] = []
    const add = (liveNumber: number, liveRow: number) => {
      numbers.push(liveNumber)
      rows.push(liveRow)
    }
    let inserted = false
    for (let slot = 0; slot < segment.length; slot++) {
      const slotNumber = segment.numbers[slot]!
      const slotRow = segment.rows[slot]!
      if (!inserted && slotNumber >= number) {
        add(number, row)
        inserted = true
      }
      if (this.isLive(slotRow, slotNumber) && slotNumber !== number) add(slotNumber, slotRow)
    }
    if (!inserted) add(number, row)
    const half = numbers.length > SEGMENT_ROWS ? numbers.length >>> 1 : numbers.length
    const parts = [this.segmentFrom(numbers, rows, 0, half)]
    if (half < numbers.length) parts.push(this.segmentFrom(numbers, rows, half, numbers.length))
    this.segments.splice(position, 1, ...parts)
  }

  private segmentFrom(
    numbers: readonly number[],
    rows: readonly number[],
    from: number,
    to: number,
  ): Segment {
    const segment = emptySegment()
    for (let slot = from; slot < to; slot++) {
      segment.numbers[segment.length] = numbers[slot]!
      segment.rows[segment.length] = rows[slot]!
      segment.length += 1
      if (this.isLive(rows[slot]!, numbers[slot]!)) segment.live += 1
    }
    return segment
  }

  /** Visits live writes above `number` in ascending order until `visit` returns false. */
  forEachAfter(number: number, visit: (number: number, row: number) => boolean): void {
    for (let position = this.segmentOf(number + 1); position < this.segments.length; position++) {
      const segment = this.segments[position]!
      for (let slot = slotAtOrAfter(segment, number + 1); slot < segment.length; slot++) {
        const slotNumber = segment.numbers[slot]!
        const row = segment.rows[slot]!
        if (this.isLive(row, slotNumber) && !visit(slotNumber, row)) return
      }
    }
  }

  /** Index of the first segment whose last number is at or above `number`. */
  private segmentOf(number: number): number {
    let low = 0
    let high = this.segments.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const segment = this.segments[middle]!
      if (segment.numbers[segment.length - 1]! < number) low = middle + 1
      else high = middle
    }
    return low
  }

  private mergeWithNeighbour(position: number): void {
    const tail = this.segments.length - 1
    for (const first of [position - 1, position]) {
      const left = this.segments[first]
      const right = this.segments[first + 1]
      if (!left || !right || first + 1 === tail || left.live + right.live > SEGMENT_ROWS) continue
      const merged = emptySegment()
      this.copyLive(left, merged)
      this.copyLive(right, merged)
      if (merged.length === 0) this.segments.splice(first, 2)
      else this.segments.splice(first, 2, merged)
      return
    }
  }

  private copyLive(from: Segment, to: Segment): void {
    for (let slot = 0; slot < from.length; slot++) {
      const number = from.numbers[slot]!
      const row = from.rows[slot]!
      if (!this.isLive(row, number)) continue
      to.numbers[to.length] = number
      to.rows[to.length] = row
      to.length += 1
    }
    to.live = to.length
  }
}

function emptySegment(): Segment {
  return {
    numbers: new Float64Array(SEGMENT_ROWS),
    rows: new Int32Array(SEGMENT_ROWS),
    length: 0,
    live: 0,
  }
}

function slotAtOrAfter(segment: Segment, number: number): number {
  let low = 0
  let high = segment.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (segment.numbers[middle]! < number) low = middle + 1
    else high = middle
  }
  return low
}
