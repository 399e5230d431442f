import { Encoder } from 'cbor-x'
import { InvalidArgumentError } from '../sync/errors.js'
import { MAX_DEPTH, MAX_MESSAGE_BYTES, type WireTuple, type WireValue } from './wire-value.js'

const encoder = new Encoder({
  useRecords: false,
  mapsAsObjects: true,
  tagUint8Array: false,
  structuredClone: false,
  bundleStrings: false,
} as ConstructorParameters<typeof Encoder>[0])

/**
 * Encodes a tuple as plain CBOR. The array returned is the caller's to keep and shares memory with nothing.
 *
 * What `decodeTuple` would refuse at the other end is refused here, where the mistake is: one bad value that
 * got into the shared state would otherwise make every peer close every link.
 * @throws InvalidArgumentError when a value is none of `WireValue`, a string has a lone surrogate, or the
 * result exceeds `MAX_MESSAGE_BYTES`.
 */
export function encodeMessage(tuple: WireTuple): Uint8Array {
  requireWireArray(tuple, 1)
  const encoded = encoder.encode(tuple)
  if (encoded.length > MAX_MESSAGE_BYTES) {
    throw new InvalidArgumentError(`message of ${encoded.length} bytes exceeds ${MAX_MESSAGE_BYTES}`)
  }
  // cbor-x hands out a view of a buffer it shares among messages; a copy keeps no more alive than its own. `slice`
  // would make a Buffer of it, which costs several times as much.
  const copy = new Uint8Array(encoded.length)
  copy.set(encoded)
  return copy
}

function requireWireArray(values: readonly WireValue[], depth: number): void {
  if (depth > MAX_DEPTH) throw new InvalidArgumentError(`nested deeper than ${MAX_DEPTH}`)
  for (let position = 0; position < values.length; position++) {
    const value = values[position]!
    switch (typeof value) {
      case 'string':
        if (!isWellFormed(value)) throw new InvalidArgumentError('a string has a lone surrogate')
        break
      case 'number':
        if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
          throw new InvalidArgumentError(`${value} is beyond the safe integers`)
        }
        break
      case 'boolean':
        break
      default:
        if (value === null || value instanceof Uint8Array) break
        if (!Array.isArray(value)) throw new InvalidArgumentError(`a ${typeof value} cannot go on the wire`)
        requireWireArray(value, depth + 1)
    }
  }
}

/** `String.prototype.isWellFormed` is in every supported Node, but not yet in the ES2023 types. */
export function isWellFormed(value: string): boolean {
  return (value as string & { isWellFormed(): boolean }).isWellFormed()
}
