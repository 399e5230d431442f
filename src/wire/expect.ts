import { FrameError, InvalidArgumentError } from '../sync/errors.js'
import type { WireValue } from './wire-value.js'

/**
 * Schema checks for decoded tuples. Each takes what `decodeTuple` gave, returns it typed, and throws a
 * FrameError that names the field; the link over which it came is then closed.
 */

/** @throws FrameError unless a string of 0 to `maxLength` UTF-16 units. */
export function expectString(value: WireValue | undefined, maxLength: number, field: string): string {
  if (typeof value !== 'string') throw new FrameError(`${field}: text expected, got ${describe(value)}`)
  if (value.length > maxLength) throw new FrameError(`${field}: longer than ${maxLength}`)
  return value
}

/** @throws FrameError unless an integer of 0 to `max`. */
export function expectUint(
  value: WireValue | undefined,
  field: string,
  max: number = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > max) {
    throw new FrameError(`${field}: integer of 0 to ${max} expected, got ${describe(value)}`)
  }
  return value
}

/** @throws FrameError unless a safe integer of either sign. */
export function expectInteger(value: WireValue | undefined, field: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) {
    throw new FrameError(`${field}: integer expected, got ${describe(value)}`)
  }
  return value
}

/** @throws FrameError unless a finite number. */
export function expectNumber(value: WireValue | undefined, field: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) {
    throw new FrameError(`${field}: finite number expected, got ${describe(value)}`)
  }
  return value
}

/** @throws FrameError unless true or false. */
export function expectBoolean(value: WireValue | undefined, field: string): boolean {
  if (typeof value !== 'boolean') throw new FrameError(`${field}: boolean expected, got ${describe(value)}`)
  return value
}

/** @throws FrameError unless a byte string of 0 to `maxLength` bytes. */
export function expectBytes(value: WireValue | undefined, maxLength: number, field: string): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new FrameError(`${field}: bytes expected, got ${describe(value)}`)
  if (value.length > maxLength) throw new FrameError(`${field}: longer than ${maxLength} bytes`)
  return value
}

/** @throws FrameError unless a byte string of exactly `length` bytes. */
export function expectBytesOf(value: WireValue | undefined, length: number, field: string): Uint8Array {
  const bytes = expectBytes(value, length, field)
  if (bytes.length !== length) throw new FrameError(`${field}: ${length} bytes expected, got ${bytes.length}`)
  return bytes
}

/** @throws FrameError unless an array of 0 to `maxLength` elements. */
export function expectArray(
  value: WireValue | undefined,
  maxLength: number,
  field: string,
): readonly WireValue[] {
  if (!Array.isArray(value)) throw new FrameError(`${field}: array expected, got ${describe(value)}`)
  if (value.length > maxLength) throw new FrameError(`${field}: more than ${maxLength} elements`)
  return value
}

/**
 * Like `expectArray`, and with at least `minLength` elements: a tuple. Elements beyond the known ones come
 * from a newer version and are left unread.
 */
export function expectTuple(
  value: WireValue | undefined,
  minLength: number,
  field: string,
): readonly WireValue[] {
  if (!Array.isArray(value)) throw new FrameError(`${field}: array expected, got ${describe(value)}`)
  if (value.length < minLength) throw new FrameError(`${field}: fewer than ${minLength} elements`)
  return value
}

/** Quantities up to 2^1024 are far beyond any use and keep the cost of hostile ones nothing. */
const MAX_BIGINT_BYTES = 128

const MAX_SAFE_BIGINT = BigInt(Number.MAX_SAFE_INTEGER)

/**
 * A quantity of 0 or more: a number while that is exact, else its big-endian bytes without leading zeros.
 * One value has one encoding.
 * @throws InvalidArgumentError when negative or longer than `MAX_BIGINT_BYTES`.
 */
export function bigintToWire(value: bigint): number | Uint8Array {
  if (value < 0n) throw new InvalidArgumentError('a quantity on the wire is never negative')
  if (value <= MAX_SAFE_BIGINT) return Number(value)
  const hex = value.toString(16)
  const bytes = Uint8Array.from(Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex'))
  if (bytes.length > MAX_BIGINT_BYTES) throw new InvalidArgumentError('a quantity exceeds 1024 bits')
  return bytes
}

/** Reverse of `bigintToWire`. @throws FrameError unless its canonical form. */
export function expectBigint(value: WireValue | undefined, field: string): bigint {
  if (typeof value === 'number') return BigInt(expectUint(value, field))
  const bytes = expectBytes(value, MAX_BIGINT_BYTES, field)
  const parsed = bytes.length === 0 ? 0n : BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
  if (bytes[0] === 0 || parsed <= MAX_SAFE_BIGINT) throw new FrameError(`${field}: not in canonical form`)
  return parsed
}

function describe(value: WireValue | undefined): string {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (value instanceof Uint8Array) return `${value.length} bytes`
  return typeof value === 'number' ? String(value) : typeof value
}
