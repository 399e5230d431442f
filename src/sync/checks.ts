import { InvalidArgumentError } from './errors.js'
import { MAX_SERVER_ID_LENGTH } from './identity.js'

/** Longest storage or world id, in characters; the wire accepts no longer ones. */
export const MAX_STORAGE_ID_LENGTH = 128
export const MAX_WORLD_ID_LENGTH = 128
export const MAX_CLUSTER_ID_LENGTH = 64

/**
 * Amounts lie below this. It is the square root of the largest total that the wire carries, so that no number
 * of deposits that could ever be made outgrows a total.
 */
export const AMOUNT_LIMIT = 2n ** 512n

/** Also file names and parts of a replica id, hence no `@`, `:` or `/`. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/
/** Storages and worlds are often named like `minecraft:overworld` or `island/12`. */
const PATH = /^[A-Za-z0-9][A-Za-z0-9_.:/-]*$/

/** @throws InvalidArgumentError unless 1 to 64 of a-z A-Z 0-9 _ . - beginning with a letter or digit. */
export function checkServerId(value: unknown): string {
  return checkName(value, NAME, MAX_SERVER_ID_LENGTH, 'server id')
}

/** @throws InvalidArgumentError under the rule of `checkServerId`. */
export function checkClusterId(value: unknown): string {
  return checkName(value, NAME, MAX_CLUSTER_ID_LENGTH, 'cluster id')
}

/** @throws InvalidArgumentError unless 1 to 128 of a-z A-Z 0-9 _ . : / - beginning with a letter or digit. */
export function checkStorageId(value: unknown): string {
  return checkName(value, PATH, MAX_STORAGE_ID_LENGTH, 'storage id')
}

/** @throws InvalidArgumentError under the rule of `checkStorageId`. */
export function checkWorldId(value: unknown): string {
  return checkName(value, PATH, MAX_WORLD_ID_LENGTH, 'world id')
}

/**
 * A quantity to deposit or withdraw: a positive safe integer, or a positive bigint below `AMOUNT_LIMIT`.
 * @throws InvalidArgumentError
 */
export function checkAmount(value: number | bigint): number | bigint {
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value) && value > 0) return value
    throw new InvalidArgumentError(`amount ${value} refused: ${whyNotAmount(value)}`)
  }
  if (typeof value === 'bigint') {
    if (value > 0n && value < AMOUNT_LIMIT) return value
    const reason =
      value <= 0n ? `${value < -AMOUNT_LIMIT ? 'it' : value} is not positive` : 'it exceeds 512 bits'
    throw new InvalidArgumentError(`amount refused: ${reason}`)
  }
  throw new InvalidArgumentError(`amount refused: a number or a bigint expected, got ${describe(value)}`)
}

function whyNotAmount(value: number): string {
  if (!Number.isFinite(value)) return 'it is not a finite number'
  if (value <= 0) return 'it is not positive'
  if (!Number.isInteger(value)) return 'it is not a whole number'
  return 'it is beyond the safe integers; give a bigint'
}

function checkName(value: unknown, pattern: RegExp, maxLength: number, what: string): string {
  if (typeof value !== 'string')
    throw new InvalidArgumentError(`${what}: text expected, got ${describe(value)}`)
  if (value.length === 0) throw new InvalidArgumentError(`${what} is empty`)
  if (value.length > maxLength) {
    throw new InvalidArgumentError(`${what} has ${value.length} characters, at most ${maxLength}`)
  }
  if (!pattern.test(value)) {
    throw new InvalidArgumentError(
      `${what} ${JSON.stringify(value)}: only letters, digits and _ . - ` +
        `${pattern === PATH ? ': / ' : ''}after a first letter or digit`,
    )
  }
  return value
}

function describe(value: unknown): string {
  return value === null ? 'null' : typeof value === 'string' ? 'a text' : typeof value
}
