import { FrameError, InvalidArgumentError } from '../sync/errors.js'
import { encodeMessage, isWellFormed } from '../wire/encode.js'
import { expectArray, expectNumber, expectString, expectTuple } from '../wire/expect.js'
import type { WireValue } from '../wire/wire-value.js'

/** Small facts that an application keeps with an anchor or a transfer. */
export type Metadata = Readonly<Record<string, string | number | boolean>>

export const MAX_METADATA_FIELDS = 32
export const MAX_METADATA_NAME_LENGTH = 64
export const MAX_METADATA_TEXT_LENGTH = 1024
/** All of it together, encoded. */
export const MAX_METADATA_BYTES = 4096

type Field = [string, string | number | boolean]

/**
 * A frozen copy with its fields in order, so that equal metadata has equal bytes.
 * @throws InvalidArgumentError for anything but texts, finite numbers and booleans, or too much of them
 */
export function checkMetadata(given: unknown): Metadata {
  if (given === undefined) return Object.freeze({})
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new InvalidArgumentError('metadata: an object of texts, numbers and booleans expected')
  }
  const fields = Object.entries(given).map(
    ([name, value]): Field => [checkName(name), checkValue(name, value)],
  )
  if (fields.length > MAX_METADATA_FIELDS) {
    throw new InvalidArgumentError(`metadata has ${fields.length} fields, at most ${MAX_METADATA_FIELDS}`)
  }
  fields.sort(([left], [right]) => (left < right ? -1 : 1))
  const { length } = encodeMessage([fields])
  if (length > MAX_METADATA_BYTES) {
    throw new InvalidArgumentError(`metadata has ${length} bytes, at most ${MAX_METADATA_BYTES}`)
  }
  return Object.freeze(Object.fromEntries(fields))
}

function checkName(name: string): string {
  if (name.length > 0 && name.length <= MAX_METADATA_NAME_LENGTH && isWellFormed(name)) return name
  throw new InvalidArgumentError(
    `metadata: names have 1 to ${MAX_METADATA_NAME_LENGTH} well-formed characters`,
  )
}

function checkValue(name: string, value: unknown): string | number | boolean {
  const field = `metadata ${JSON.stringify(name)}`
  if (typeof value === 'boolean') return value
  if (typeof value === 'number') {
    if (Number.isInteger(value) ? Number.isSafeInteger(value) : Number.isFinite(value)) return value + 0
    throw new InvalidArgumentError(`${field}: ${value} is not finite or beyond the safe integers`)
  }
  if (typeof value !== 'string') {
    throw new InvalidArgumentError(`${field}: a text, number or boolean expected, nothing nested`)
  }
  if (value.length <= MAX_METADATA_TEXT_LENGTH && isWellFormed(value)) return value
  throw new InvalidArgumentError(`${field}: at most ${MAX_METADATA_TEXT_LENGTH} well-formed characters`)
}

export function metadataToWire(metadata: Metadata): WireValue {
  return Object.entries(metadata).sort(([left], [right]) => (left < right ? -1 : 1))
}

/** @throws FrameError */
export function metadataFromWire(value: WireValue | undefined): Metadata {
  const fields = expectArray(value, MAX_METADATA_FIELDS, 'metadata').map((entry): Field => {
    const [name, content] = expectTuple(entry, 2, 'metadata')
    return [expectString(name, MAX_METADATA_NAME_LENGTH, 'metadata.name'), valueFromWire(content)]
  })
  return Object.freeze(Object.fromEntries(fields))
}

function valueFromWire(value: WireValue | undefined): string | number | boolean {
  if (typeof value === 'boolean') return value
  if (typeof value === 'number') return expectNumber(value, 'metadata.value')
  if (typeof value === 'string') return expectString(value, MAX_METADATA_TEXT_LENGTH, 'metadata.value')
  throw new FrameError('metadata.value: a text, number or boolean expected')
}
