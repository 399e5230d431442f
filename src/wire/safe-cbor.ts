import { isUtf8 } from 'node:buffer'
import { Decoder } from 'cbor-x'
import { FrameError } from '../sync/errors.js'
import { MAX_DEPTH, MAX_ITEMS, MAX_MESSAGE_TYPE, type WireValue } from './wire-value.js'

/**
 * Decoding of bytes that a stranger may have written.
 *
 * cbor-x alone is not safe there: tag 2 costs quadratic time, tag 27 builds Error and RegExp objects, a peer
 * may define records, and extensions registered elsewhere in the process apply. So one linear scan first
 * accepts exactly the subset of `WireValue`; what passes has nothing in it that cbor-x treats specially.
 */
const decoder = new Decoder({
  useRecords: false,
  mapsAsObjects: true,
  tagUint8Array: false,
  int64AsNumber: true,
  // A view would keep the whole frame alive for as long as one small byte string of it is kept.
  copyBuffers: true,
} as ConstructorParameters<typeof Decoder>[0])

const UINT64_HIGH_LIMIT = 0x200000
/** Exponent fields of a double (IEEE 754); from 2^53 on all are integers, and not safe ones. */
const EXPONENT_OF_2_TO_53 = 1023 + 53
const EXPONENT_OF_INFINITY = 0x7ff

/**
 * Decodes one tuple that fills `bytes` exactly.
 * @throws FrameError for anything outside the subset, and only that.
 */
export function decodeTuple(bytes: Uint8Array): readonly WireValue[] {
  if (bytes.length === 0 || (bytes[0]! & 0xe0) !== 0x80) throw new FrameError('message is not a CBOR array')
  scanCbor(bytes)
  try {
    // cbor-x sets a property on the array it is given; a fresh view keeps the caller's as it was.
    return decoder.decode(bytes.subarray()) as readonly WireValue[]
  } catch (error) {
    throw new FrameError(`message does not decode: ${(error as Error).message}`, { cause: error })
  }
}

/**
 * Reads the type of an encoded message (first element of its array) without decoding the rest.
 * @throws FrameError when the bytes do not begin with a non-empty array of an integer up to 255.
 */
export function messageTypeOf(bytes: Uint8Array): number {
  const head = bytes[0] ?? 0
  let offset = 1
  if (head === 0x98) offset = 2
  else if (head === 0x99) offset = 3
  else if (head === 0x9a) offset = 5
  else if (head < 0x81 || head > 0x97) throw new FrameError('message is not a non-empty CBOR array')
  const first = bytes[offset]
  if (first !== undefined && first <= 0x17) return first
  const second = bytes[offset + 1]
  if (first === 0x18 && second !== undefined && second >= 0x18) return second
  throw new FrameError(`message does not begin with a type of 0 to ${MAX_MESSAGE_TYPE}`)
}

/**
 * Accepts exactly one well-formed value of the `WireValue` subset, in shortest-length encoding, filling
 * `bytes`. Linear in the length, no recursion, no allocation that depends on the input.
 * @throws FrameError
 */
export function scanCbor(bytes: Uint8Array): void {
  const length = bytes.length
  // Items still missing at each level; level 0 is the one top-level value.
  const missing = new Uint32Array(MAX_DEPTH + 1)
  missing[0] = 1
  let depth = 0
  let items = 0
  let offset = 0
  while (true) {
    while (missing[depth] === 0) {
      if (depth === 0) {
        if (offset !== length) throw new FrameError(`${length - offset} bytes after the end of the message`)
        return
      }
      depth -= 1
    }
    missing[depth]! -= 1
    if (++items > MAX_ITEMS) throw new FrameError(`more than ${MAX_ITEMS} values in one message`)
    if (offset >= length) throw new FrameError('message is cut short')
    const head = bytes[offset]!
    const major = head >> 5
    if (major === 7) {
      offset = scanSimple(bytes, offset)
      continue
    }
    if (major > 4)
      throw new FrameError(major === 6 ? 'CBOR tags are not allowed' : 'CBOR maps are not allowed')
    const width = headWidth(head)
    if (offset + width > length) throw new FrameError('message is cut short')
    const argument = width === 1 ? head & 0x1f : readArgument(bytes, offset + 1, width - 1)
    offset += width
    if (major < 2) continue
    // Every element needs a byte at least, so one test serves strings and arrays alike.
    if (argument > length - offset) throw new FrameError('a length reaches beyond the end of the message')
    if (major === 4) {
      if (depth === MAX_DEPTH) throw new FrameError(`nested deeper than ${MAX_DEPTH}`)
      depth += 1
      missing[depth] = argument
      continue
    }
    if (major === 3) requireUtf8(bytes, offset, offset + argument)
    offset += argument
  }
}

function headWidth(head: number): number {
  const additional = head & 0x1f
  if (additional < 24) return 1
  if (additional > 27) throw new FrameError('indefinite lengths and reserved CBOR heads are not allowed')
  return 1 + (1 << (additional - 24))
}

/** Big-endian, and refused when a shorter head could have held it. */
function readArgument(bytes: Uint8Array, offset: number, width: number): number {
  let value = 0
  switch (width) {
    case 1:
      value = bytes[offset]!
      if (value >= 24) return value
      break
    case 2:
      value = bytes[offset]! * 0x100 + bytes[offset + 1]!
      if (value >= 0x100) return value
      break
    case 4:
      value = uint32(bytes, offset)
      if (value >= 0x10000) return value
      break
    default: {
      const high = uint32(bytes, offset)
      if (high >= UINT64_HIGH_LIMIT) throw new FrameError('an integer exceeds 53 bits')
      value = high * 0x100000000 + uint32(bytes, offset + 4)
      if (value >= 0x100000000) return value
    }
  }
  throw new FrameError('a CBOR head is longer than it needs to be')
}

function uint32(bytes: Uint8Array, offset: number): number {
  return (
    bytes[offset]! * 0x1000000 + ((bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!)
  )
}

/** false, true, null and double precision floats; nothing else of major type 7. */
function scanSimple(bytes: Uint8Array, offset: number): number {
  const head = bytes[offset]!
  if (head === 0xf4 || head === 0xf5 || head === 0xf6) return offset + 1
  if (head !== 0xfb) throw new FrameError('a CBOR simple value other than false, true, null or a double')
  if (offset + 9 > bytes.length) throw new FrameError('message is cut short')
  const exponent = ((bytes[offset + 1]! & 0x7f) << 4) | (bytes[offset + 2]! >> 4)
  if (exponent >= EXPONENT_OF_2_TO_53 && exponent < EXPONENT_OF_INFINITY) {
    throw new FrameError('an integer exceeds 53 bits')
  }
  return offset + 9
}

function requireUtf8(bytes: Uint8Array, start: number, end: number): void {
  for (let offset = start; offset < end; offset++) {
    if (bytes[offset]! < 0x80) continue
    if (!isUtf8(bytes.subarray(offset, end))) throw new FrameError('a text string is not UTF-8')
    return
  }
}
