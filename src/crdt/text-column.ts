import type { Float64Rows } from './column.js'

/** Texts begin at multiples of this, and have room in multiples of it. */
const UNIT_BYTES = 8
const CHUNK_UNITS_BITS = 15
const CHUNK_UNITS = 1 << CHUNK_UNITS_BITS
/** The first chunk begins small: a server has many partitions with little in them. */
const FIRST_CHUNK_UNITS = 512

/**
 * Where a text is, in one number: unit (30 bits), room in units (10), bytes (12), two bytes a character (1).
 */
const LENGTH_BITS = 13
const ROOM_BITS = 10
const UNIT_FACTOR = 2 ** (LENGTH_BITS + ROOM_BITS)
const MAX_TEXT_BYTES = 2 ** (LENGTH_BITS - 1) - 1
const MAX_UNITS = 2 ** 30

/**
 * Short strings, indexed by row: their characters lie in large buffers, where the garbage
 * collector neither walks nor moves them. As strings, a million keys made it stand still for 20 ms and more.
 * A row that gets another text keeps its place as long as it fits, so rows can be used again for ever.
 */
export class TextColumn {
  private readonly chunks: Buffer[] = []
  private usedUnits = 0

  /** `places` is a number per row for this column alone, 0 to begin with: then the text is empty. */
  constructor(private readonly places: Float64Rows) {}

  get(row: number): string {
    const place = this.places.get(row)
    const unit = unitOf(place)
    const head = place - unit * UNIT_FACTOR
    const bytes = bytesOf(head)
    if (bytes === 0) return ''
    const start = startOf(unit)
    const chunk = this.chunks[unit >>> CHUNK_UNITS_BITS]!
    return chunk.toString(isWide(head) ? 'utf16le' : 'latin1', start, start + bytes)
  }

  /** Whether a row has this text, without making a string of it. */
  equals(row: number, value: string): boolean {
    const place = this.places.get(row)
    const unit = unitOf(place)
    const head = place - unit * UNIT_FACTOR
    if (isWide(head)) return this.get(row) === value
    const { length } = value
    if (bytesOf(head) !== length) return false
    if (length === 0) return true
    const start = startOf(unit)
    const chunk = this.chunks[unit >>> CHUNK_UNITS_BITS]!
    for (let position = 0; position < length; position++) {
      if (chunk[start + position] !== value.charCodeAt(position)) return false
    }
    return true
  }

  set(row: number, value: string): void {
    const wide = !isLatin(value)
    const bytes = wide ? 2 * value.length : value.length
    if (bytes > MAX_TEXT_BYTES) throw new RangeError(`a text of ${bytes} bytes in a column of short ones`)
    const before = this.places.get(row)
    let unit = unitOf(before)
    let room = roomOf(before - unit * UNIT_FACTOR)
    const needed = Math.ceil(bytes / UNIT_BYTES)
    if (needed > room) {
      room = needed
      unit = this.allocate(room)
    }
    const head = (room << LENGTH_BITS) + (bytes << 1) + (wide ? 1 : 0)
    this.places.set(row, unit * UNIT_FACTOR + head)
    if (bytes === 0) return
    this.chunks[unit >>> CHUNK_UNITS_BITS]!.write(value, startOf(unit), wide ? 'utf16le' : 'latin1')
  }

  /** The first of so many free units, all in one chunk. */
  private allocate(units: number): number {
    const last = this.chunks.length - 1
    const end = last < 0 ? 0 : last * CHUNK_UNITS + this.chunks[last]!.length / UNIT_BYTES
    if (this.usedUnits + units > end) this.addRoom(units)
    const unit = this.usedUnits
    if (unit + units > MAX_UNITS) throw new RangeError('a text column is full')
    this.usedUnits += units
    return unit
  }

  private addRoom(units: number): void {
    const first = this.chunks[0]
    const firstUnits = first === undefined ? 0 : first.length / UNIT_BYTES
    if (this.chunks.length <= 1 && this.usedUnits + units <= CHUNK_UNITS) {
      const wanted = Math.max(FIRST_CHUNK_UNITS, 2 * firstUnits, this.usedUnits + units)
      const larger = Buffer.allocUnsafeSlow(Math.min(wanted, CHUNK_UNITS) * UNIT_BYTES)
      first?.copy(larger)
      this.chunks[0] = larger
      return
    }
    this.usedUnits = this.chunks.length * CHUNK_UNITS
    this.chunks.push(Buffer.allocUnsafeSlow(CHUNK_UNITS * UNIT_BYTES))
  }
}

function unitOf(place: number): number {
  return Math.floor(place / UNIT_FACTOR)
}

function startOf(unit: number): number {
  return (unit & (CHUNK_UNITS - 1)) * UNIT_BYTES
}

function roomOf(head: number): number {
  return head >>> LENGTH_BITS
}

function bytesOf(head: number): number {
  return (head >>> 1) & MAX_TEXT_BYTES
}

function isWide(head: number): boolean {
  return (head & 1) === 1
}

/** One byte a character is enough. */
function isLatin(value: string): boolean {
  for (let position = 0; position < value.length; position++) {
    if (value.charCodeAt(position) > 0xff) return false
  }
  return true
}
