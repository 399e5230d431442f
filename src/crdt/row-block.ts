import type { Float64Rows, Int32Rows } from './column.js'

/** Rows per chunk. Growing adds a chunk; nothing is ever copied, so a million rows grow without a stall. */
const CHUNK_BITS = 14
const CHUNK_ROWS = 1 << CHUNK_BITS
const CHUNK_MASK = CHUNK_ROWS - 1
const FLOAT_BYTES = Float64Array.BYTES_PER_ELEMENT
const INT_BYTES = Int32Array.BYTES_PER_ELEMENT

/**
 * Numbers of a row that are used together, side by side. Who looks for one row among a million waits for memory
 * once a row instead of once a column; what is walked through from end to end, or is nearly always 0, is better
 * off in a column of its own.
 */
export class RowBlock {
  /** Each chunk twice: as float64 and as int32. */
  readonly floats: Float64Array[] = []
  readonly ints: Int32Array[] = []
  private rows = 0

  /** `rowBytes` is a multiple of 8; the fields must lie side by side without overlapping. */
  constructor(readonly rowBytes: number) {}

  get length(): number {
    return this.rows
  }

  /** Adds a row of zeros. */
  push(): number {
    const row = this.rows++
    if ((row & CHUNK_MASK) === 0) {
      const chunk = new ArrayBuffer(CHUNK_ROWS * this.rowBytes)
      this.floats.push(new Float64Array(chunk))
      this.ints.push(new Int32Array(chunk))
    }
    return row
  }

  float64(offsetBytes: number): Float64Field {
    return new Float64Field(this.floats, this.rowBytes / FLOAT_BYTES, offsetBytes / FLOAT_BYTES)
  }

  int32(offsetBytes: number): Int32Field {
    return new Int32Field(this, this.ints, this.rowBytes / INT_BYTES, offsetBytes / INT_BYTES)
  }
}

/** One float64 of each row. */
export class Float64Field implements Float64Rows {
  constructor(
    private readonly chunks: readonly Float64Array[],
    private readonly stride: number,
    private readonly offset: number,
  ) {}

  get(row: number): number {
    return this.chunks[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * this.stride + this.offset]!
  }

  set(row: number, value: number): void {
    this.chunks[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * this.stride + this.offset] = value
  }
}

/** One signed 32-bit integer of each row. */
export class Int32Field implements Int32Rows {
  constructor(
    private readonly block: RowBlock,
    private readonly chunks: readonly Int32Array[],
    private readonly stride: number,
    private readonly offset: number,
  ) {}

  get length(): number {
    return this.block.length
  }

  get(row: number): number {
    return this.chunks[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * this.stride + this.offset]!
  }

  set(row: number, value: number): void {
    this.chunks[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * this.stride + this.offset] = value
  }
}
