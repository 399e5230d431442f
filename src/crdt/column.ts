/** Rows per chunk. Growing adds a chunk; nothing is ever copied, so a million rows grow without a stall. */
const CHUNK_BITS = 14
const CHUNK_ROWS = 1 << CHUNK_BITS
const CHUNK_MASK = CHUNK_ROWS - 1

/** Float64 numbers indexed by row, wherever they lie. */
export interface Float64Rows {
  get(row: number): number
  set(row: number, value: number): void
}

/** Signed 32-bit integers indexed by row. */
export interface Int32Rows {
  get(row: number): number
  set(row: number, value: number): void
}

/**
 * A growable column of float64 numbers, indexed by row. Rows must be pushed before they are set. A chunk in
 * which all is 0 takes no memory: many counters are never withdrawn from.
 */
export class Float64Column implements Float64Rows {
  private readonly chunks: (Float64Array | undefined)[] = []
  length = 0

  push(value: number): number {
    const row = this.length++
    if ((row & CHUNK_MASK) === 0) this.chunks.push(undefined)
    this.set(row, value)
    return row
  }

  get(row: number): number {
    const chunk = this.chunks[row >>> CHUNK_BITS]
    return chunk === undefined ? 0 : chunk[row & CHUNK_MASK]!
  }

  set(row: number, value: number): void {
    const chunk = this.chunks[row >>> CHUNK_BITS]
    if (chunk !== undefined) chunk[row & CHUNK_MASK] = value
    else if (value !== 0) this.allocate(row >>> CHUNK_BITS)[row & CHUNK_MASK] = value
  }

  private allocate(position: number): Float64Array {
    const chunk = new Float64Array(CHUNK_ROWS)
    this.chunks[position] = chunk
    return chunk
  }
}

/** A growable column of signed 32-bit integers, indexed by row. */
export class Int32Column implements Int32Rows {
  private readonly chunks: Int32Array[] = []
  length = 0

  push(value: number): number {
    const row = this.length++
    if ((row & CHUNK_MASK) === 0) this.chunks.push(new Int32Array(CHUNK_ROWS))
    this.chunks[row >>> CHUNK_BITS]![row & CHUNK_MASK] = value
    return row
  }

  get(row: number): number {
    return this.chunks[row >>> CHUNK_BITS]![row & CHUNK_MASK]!
  }

  set(row: number, value: number): void {
    this.chunks[row >>> CHUNK_BITS]![row & CHUNK_MASK] = value
  }
}

/**
 * Exact integers of any size, indexed by row: a float64 while the value is a safe integer, a bigint kept aside
 * once it is not. The row holds NaN where the bigint is the truth.
 */
export class Quantities {
  private readonly large = new Map<number, bigint>()

  constructor(private readonly small: Float64Rows) {}

  /** A number when it is a safe integer, else a bigint. */
  get(row: number): number | bigint {
    const value = this.small.get(row)
    return Number.isNaN(value) ? this.large.get(row)! : value
  }

  set(row: number, value: number | bigint): void {
    const narrow = narrowQuantity(value)
    if (typeof narrow === 'number') {
      if (this.large.size > 0) this.large.delete(row)
      this.small.set(row, narrow)
    } else {
      this.small.set(row, Number.NaN)
      this.large.set(row, narrow)
    }
  }

  /** Adds, exactly; `amount` may be negative. */
  add(row: number, amount: number | bigint): void {
    if (typeof amount === 'number') {
      const sum = this.small.get(row) + amount
      // A NaN (the row holds a bigint) fails both comparisons and takes the exact way.
      if (sum <= Number.MAX_SAFE_INTEGER && sum >= Number.MIN_SAFE_INTEGER) {
        this.small.set(row, sum)
        return
      }
    }
    this.set(row, addQuantities(this.get(row), amount))
  }
}

/** The one representation of a quantity: a number when safe, a bigint otherwise. */
export function narrowQuantity(value: number | bigint): number | bigint {
  if (typeof value === 'number') return value
  return value <= MAX_SAFE && value >= MIN_SAFE ? Number(value) : value
}

/** Exact sum of two quantities, narrowed. Numbers given must be safe integers. */
export function addQuantities(left: number | bigint, right: number | bigint): number | bigint {
  if (typeof left === 'number' && typeof right === 'number') {
    const sum = left + right
    if (Number.isSafeInteger(sum)) return sum
  }
  return narrowQuantity(BigInt(left) + BigInt(right))
}

export function subtractQuantities(left: number | bigint, right: number | bigint): number | bigint {
  if (typeof left === 'number' && typeof right === 'number') {
    const difference = left - right
    if (Number.isSafeInteger(difference)) return difference
  }
  return narrowQuantity(BigInt(left) - BigInt(right))
}

const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER)
const MIN_SAFE = BigInt(Number.MIN_SAFE_INTEGER)
