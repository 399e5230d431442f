import { InvalidArgumentError } from '../sync/errors.js'
import { isWellFormed } from './encode.js'
import { MAX_MESSAGE_BYTES } from './wire-value.js'

const INITIAL_BYTES = 64 * 1024
/** A head and the longest text that is written without asking how many bytes it takes. */
const MAX_HEAD_BYTES = 9
const MAJOR_BYTES = 0x40
const MAJOR_TEXT = 0x60
const MAJOR_ARRAY = 0x80
const UINT32_LIMIT = 0x1_0000_0000
const FALSE = 0xf4
const TRUE = 0xf5
const DOUBLE = 0xfb

/**
 * Writes one message piece by piece, for the few kinds that are written by the million: what it makes is byte
 * for byte what `encodeMessage` makes of the same tuple, without the tuple. One buffer is used again and again.
 */
export class CborWriter {
  private bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES)
  private view = new DataView(this.bytes.buffer)
  private length = 0

  begin(): void {
    this.length = 0
  }

  /** A copy of what has been written. @throws InvalidArgumentError above `MAX_MESSAGE_BYTES` */
  finish(): Uint8Array {
    if (this.length > MAX_MESSAGE_BYTES) {
      throw new InvalidArgumentError(`message of ${this.length} bytes exceeds ${MAX_MESSAGE_BYTES}`)
    }
    return Uint8Array.prototype.slice.call(this.bytes, 0, this.length)
  }

  /** The elements follow. */
  array(length: number): void {
    this.reserve(MAX_HEAD_BYTES)
    this.head(MAJOR_ARRAY, length)
  }

  /** @throws InvalidArgumentError unless a safe integer of 0 or more */
  uint(value: number): void {
    this.reserve(MAX_HEAD_BYTES)
    if (value < UINT32_LIMIT && value >>> 0 === value) {
      this.head(0, value)
      return
    }
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new InvalidArgumentError(`${value} is no safe integer of 0 or more`)
    }
    this.bytes[this.length] = DOUBLE
    this.view.setFloat64(this.length + 1, value)
    this.length += 9
  }

  boolean(value: boolean): void {
    this.reserve(1)
    this.bytes[this.length++] = value ? TRUE : FALSE
  }

  byteString(value: Uint8Array): void {
    this.reserve(MAX_HEAD_BYTES + value.length)
    this.head(MAJOR_BYTES, value.length)
    this.bytes.set(value, this.length)
    this.length += value.length
  }

  /** @throws InvalidArgumentError for a lone surrogate */
  text(value: string): void {
    const { length } = value
    this.reserve(MAX_HEAD_BYTES + 3 * length)
    const before = this.length
    this.head(MAJOR_TEXT, length)
    const { bytes } = this
    const start = this.length
    for (let position = 0; position < length; position++) {
      const unit = value.charCodeAt(position)
      if (unit >= 0x80) {
        this.length = before
        this.longText(value)
        return
      }
      bytes[start + position] = unit
    }
    this.length = start + length
  }

  /** Something that is encoded already. */
  encoded(value: Uint8Array): void {
    this.reserve(value.length)
    this.bytes.set(value, this.length)
    this.length += value.length
  }

  private longText(value: string): void {
    if (!isWellFormed(value)) throw new InvalidArgumentError('a string has a lone surrogate')
    this.head(MAJOR_TEXT, Buffer.byteLength(value))
    this.length += this.bytes.write(value, this.length, 'utf8')
  }

  /** In the shortest form, which is the only one that readers accept. */
  private head(major: number, argument: number): void {
    const { bytes } = this
    if (argument < 24) bytes[this.length++] = major | argument
    else if (argument < 0x100) {
      bytes[this.length++] = major | 24
      bytes[this.length++] = argument
    } else if (argument < 0x10000) {
      bytes[this.length++] = major | 25
      bytes[this.length++] = argument >>> 8
      bytes[this.length++] = argument & 0xff
    } else {
      bytes[this.length++] = major | 26
      this.view.setUint32(this.length, argument)
      this.length += 4
    }
  }

  private reserve(count: number): void {
    const needed = this.length + count
    if (needed <= this.bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.bytes.length))
    this.bytes.copy(larger, 0, 0, this.length)
    this.bytes = larger
    this.view = new DataView(larger.buffer)
  }
}
