import { hashText } from './hash.js'

/**
 * A small, fast generator whose numbers are the same on every JavaScript engine: sfc32 (Chris Doty-Humphrey,
 * PractRand), 128 bits of state, 32-bit integer arithmetic only.
 *
 * Streams: `fork(label)` depends on the path of labels that leads to it and on nothing drawn so far, so one
 * more draw in one place changes no other stream. Only + - * / and square roots are used on top, since
 * engines may differ in the last bit of logarithms and powers, and then two histories would part.
 */
export class SeededRandom {
  readonly path: string
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: number | string) {
    this.path = String(seed)
    this.#a = hashText(this.path, 0x9e3779b9)
    this.#b = hashText(this.path, 0x85ebca6b)
    this.#c = hashText(this.path, 0xc2b2ae35)
    for (let round = 0; round < 12; round++) this.word()
  }

  /** An independent stream for one purpose. */
  fork(label: string | number): SeededRandom {
    return new SeededRandom(`${this.path}/${label}`)
  }

  /** 32 random bits as an unsigned number. */
  word(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum
    this.#c |= 0
    return sum >>> 0
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    return this.word() / 4294967296
  }

  /** Uniform integer in [from, to], both included; the span must be below 2^32. */
  integer(from: number, to: number): number {
    return from + Math.floor(this.uniform() * (to - from + 1))
  }

  chance(probability: number): boolean {
    return this.uniform() < probability
  }

  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.uniform() * items.length)]
    if (item === undefined) throw new RangeError('pick from nothing')
    return item
  }

  /** A shuffled copy (Fisher-Yates). */
  shuffle<T>(items: readonly T[]): T[] {
    const copy = [...items]
    for (let last = copy.length - 1; last > 0; last--) {
      const other = Math.floor(this.uniform() * (last + 1))
      const moved = copy[last] as T
      copy[last] = copy[other] as T
      copy[other] = moved
    }
    return copy
  }

  bytes(length: number): Uint8Array {
    const result = new Uint8Array(length)
    for (let at = 0; at < length; at += 4) {
      const word = this.word()
      result[at] = word
      if (at + 1 < length) result[at + 1] = word >>> 8
      if (at + 2 < length) result[at + 2] = word >>> 16
      if (at + 3 < length) result[at + 3] = word >>> 24
    }
    return result
  }

  /** A delay of `typical` scale with a heavy tail (Pareto, shape 2), never above `most`; whole numbers. */
  delay(typical: number, most: number): number {
    const tail = 1 / Math.sqrt(1 - this.uniform()) - 1
    return Math.min(most, Math.floor(typical * (0.5 + tail)))
  }
}
