import { v7 } from 'uuid'
import type { Environment } from './environment.js'

/** A UUIDv7 (RFC 9562): the wall time in milliseconds first, so that later ones sort later; then randomness. */
export function uuidV7({ clock, random }: Pick<Environment, 'clock' | 'random'>): string {
  return v7({ msecs: Math.max(0, Math.floor(clock.wallMs())), random: random.bytes(16) })
}
