import { v7 } from 'uuid'
import type { Environment } from './environment.js'

/**
 * A UUIDv7 (RFC 9562): the wall time in milliseconds first, so that later ones sort later; then randomness. Its time
 * is at least `leastMs`.
 */
export function uuidV7({ clock, random }: Pick<Environment, 'clock' | 'random'>, leastMs = 0): string {
  return v7({ msecs: Math.max(leastMs, Math.floor(clock.wallMs())), random: random.bytes(16) })
}

/** The time in a UUIDv7, with or without hyphens; 0 for any other text. */
export function uuidV7Ms(uuid: string): number {
  const time = uuid.replaceAll('-', '').slice(0, 12)
  return /^[0-9a-f]{12}$/.test(time) ? Number.parseInt(time, 16) : 0
}
