import { InvalidArgumentError } from '../sync/errors.js'
import { isWellFormed } from '../wire/encode.js'

/** In UTF-16 units. */
export const MAX_LOCK_KEY_LENGTH = 128

/** Each waiter for a lock is a key below it, under the lease of the waiter's server. */
export function lockPrefix(lock: string): string {
  return `lock/${lock.replace(/[%/]/g, (character) => (character === '%' ? '%25' : '%2F'))}/`
}

/** See `LockGates`. */
export function gateKey(lease: number): string {
  return `lock-gate/${lease}`
}

/** @throws InvalidArgumentError */
export function checkLockKey(key: unknown): void {
  if (typeof key === 'string' && key.length > 0 && key.length <= MAX_LOCK_KEY_LENGTH && isWellFormed(key))
    return
  throw new InvalidArgumentError(`lock key: 1 to ${MAX_LOCK_KEY_LENGTH} well-formed characters expected`)
}
