/** 32-bit hash of a text's UTF-16 units (the mixing of MurmurHash3, Austin Appleby). Not for secrets. */
export function hashText(text: string, seed: number): number {
  let hash = seed | 0
  for (let at = 0; at < text.length; at++) hash = mix(hash, text.charCodeAt(at))
  return finish(hash ^ text.length)
}

/** 32-bit hash of bytes: tells two contents of the trace apart. Not for secrets. */
export function hashBytes(bytes: Uint8Array): number {
  const length = bytes.length
  const whole = length & ~3
  let hash = length | 0
  for (let at = 0; at < whole; at += 4) {
    hash = mix(
      hash,
      (bytes[at] as number) |
        ((bytes[at + 1] as number) << 8) |
        ((bytes[at + 2] as number) << 16) |
        ((bytes[at + 3] as number) << 24),
    )
  }
  for (let at = whole; at < length; at++) hash = mix(hash, bytes[at] as number)
  return finish(hash)
}

function mix(hash: number, word: number): number {
  let scrambled = Math.imul(word, 0xcc9e2d51)
  scrambled = Math.imul((scrambled << 15) | (scrambled >>> 17), 0x1b873593)
  const next = hash ^ scrambled
  return (Math.imul((next << 13) | (next >>> 19), 5) + 0xe6546b64) | 0
}

function finish(hash: number): number {
  let result = hash
  result = Math.imul(result ^ (result >>> 16), 0x85ebca6b)
  result = Math.imul(result ^ (result >>> 13), 0xc2b2ae35)
  return (result ^ (result >>> 16)) | 0
}

/**
 * A running hash over the whole history of a run: two 32-bit lanes that feed each other, integer arithmetic
 * only, so that it is the same on every engine. Equal digests mean, short of a 64-bit accident, equal histories.
 */
export class RunningHash {
  #first = 0x243f6a88
  #second = 0x85a308d3

  add(word: number): void {
    this.#first = mix(this.#first, word | 0)
    this.#second = (Math.imul(this.#second ^ this.#first, 0x9e3779b1) + ((word << 16) | (word >>> 16))) | 0
    this.#second ^= this.#second >>> 15
  }

  /** A whole number up to 2^53. */
  addLarge(value: number): void {
    this.add(value | 0)
    this.add((value / 4294967296) | 0)
  }

  /** 16 hexadecimal digits. */
  digest(): string {
    return hex(finish(this.#first ^ this.#second)) + hex(finish(this.#second + 0x51ed270b))
  }
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0')
}
