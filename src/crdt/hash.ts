import { hashString, mix } from '../sync/hash.js'
import type { WireValue } from '../wire/wire-value.js'
import type { CounterValue } from './cell.js'

/**
 * Hashes for the checksum that servers compare per replica (section 6 of the design, STORAGE_SYNC_FULL). They
 * detect defects and bit rot, not attackers, so 32-bit multiplicative mixing (MurmurHash3's finalizer) does.
 * They are part of the protocol: see docs/protocol.md.
 */
export function hashNumber(seed: number, value: number): number {
  // The common case, a small integer, without a division; the result is the same.
  if (value >= 0 && value <= 0x7fffffff) return mix(Math.imul(seed, 31) ^ mix(value))
  const high = Math.floor(value / 0x1_0000_0000)
  return mix(Math.imul(seed, 31) ^ mix((value | 0) ^ Math.imul(high, 0x9e3779b1)))
}

function hashQuantity(seed: number, value: number | bigint): number {
  return typeof value === 'number' ? hashNumber(seed, value) : hashString(seed, value.toString())
}

export function hashCounter(
  seed: number,
  number: number,
  deposited: number | bigint,
  withdrawn: number | bigint,
  compensated: number | bigint,
  granted: CounterValue['granted'],
): number {
  let hash = hashNumber(seed, number)
  hash = hashQuantity(hash, deposited)
  hash = hashQuantity(hash, withdrawn)
  hash = hashQuantity(hash, compensated)
  for (const [replica, amount] of granted) hash = hashQuantity(hashString(hash, replica), amount)
  return hash
}

export function hashObject(seed: number, number: number, value: WireValue): number {
  return hashWireValue(hashNumber(seed, number), value)
}

function hashWireValue(seed: number, value: WireValue): number {
  if (typeof value === 'number')
    return Number.isSafeInteger(value) ? hashNumber(seed, value) : hashString(seed, String(value))
  if (typeof value === 'string') return hashString(seed, value)
  if (value === null || typeof value === 'boolean') return hashString(seed, String(value))
  if (value instanceof Uint8Array) {
    let hash = seed
    for (const byte of value) hash = Math.imul(hash ^ byte, 0x01000193)
    return mix(hash ^ value.length)
  }
  let hash = hashNumber(seed, value.length)
  for (const element of value) hash = hashWireValue(hash, element)
  return hash
}
