/**
 * FNV-1a over UTF-16 code units, mixed as in MurmurHash3: for tables, filters and checksums, not against attackers.
 * Part of the protocol, since checksums are made with it: see docs/protocol.md.
 */
export function hashString(seed: number, text: string): number {
  let hash = seed | 0
  for (let position = 0; position < text.length; position++) {
    hash = Math.imul(hash ^ text.charCodeAt(position), 0x01000193)
  }
  return mix(hash ^ text.length)
}

/** MurmurHash3's finalizer: each bit of the result depends on each bit of the value. */
export function mix(value: number): number {
  let hash = value | 0
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}
