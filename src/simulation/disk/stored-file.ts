import type { SeededRandom } from '../kernel/random.js'

const PAGE_BYTES = 4096

interface Span {
  readonly from: number
  readonly to: number
}

/** The bytes of one file, and which of them a power cut could still take. */
export class StoredFile {
  #bytes = new Uint8Array(1024)
  #size = 0
  /** With the zeros reserved behind it. */
  #length = 0
  #unsynced: Span[] = []

  static durable(contents: Uint8Array): StoredFile {
    const file = new StoredFile()
    file.append(contents)
    file.sync()
    return file
  }

  get size(): number {
    return this.#size
  }

  /** What a reader finds. */
  get length(): number {
    return Math.max(this.#size, this.#length)
  }

  /** Zeros behind what is there. Durable at once: whether they are on the disk makes no difference to a reader. */
  reserve(bytes: number): void {
    this.#length = Math.max(this.#length, this.#size + bytes)
    this.#grow(this.#length)
  }

  releaseReserved(): void {
    this.#length = this.#size
  }

  /** Opened again: nobody knows any more which zeros at the end were reserved. */
  reopen(): void {
    this.#size = this.length
  }

  append(data: Uint8Array): void {
    if (data.length === 0) return
    const from = this.#size
    const to = from + data.length
    this.#grow(to)
    this.#bytes.set(data, from)
    this.#size = to
    this.#unsynced.push({ from, to })
  }

  sync(): void {
    this.#unsynced = []
  }

  /** The last append was interrupted by the death of its process: only some of it reached the system. */
  interruptAppend(random: SeededRandom): void {
    const last = this.#unsynced.pop()
    if (last === undefined) return
    const to = random.integer(last.from, last.to)
    this.#bytes.fill(0, to, this.#size)
    this.#size = to
    if (to > last.from) this.#unsynced.push({ from: last.from, to })
  }

  /** Cuts and makes that durable. */
  truncate(size: number): void {
    this.#bytes.fill(0, Math.min(size, this.#size), this.#size)
    this.#size = Math.min(size, this.#size)
    this.#length = this.#size
    this.sync()
  }

  read(offset: number, length: number): Uint8Array {
    return this.#bytes.slice(offset, Math.min(this.length, offset + length))
  }

  contents(): Uint8Array {
    return this.#bytes.slice(0, this.#size)
  }

  flipBit(at: number, bit: number): void {
    this.#bytes[at] = (this.#bytes[at] ?? 0) ^ (1 << bit)
  }

  /**
   * Each append that was not synced is, on its own, kept, lost, or kept up to any byte. What is lost below
   * something kept reads as zeros, as a file system that allocates late shows it.
   */
  losePower(random: SeededRandom, losesPages: boolean): void {
    let end = this.#unsynced[0]?.from ?? this.#size
    for (const span of this.#unsynced) {
      const fate = random.integer(0, 2)
      const keptTo = fate === 0 ? span.to : fate === 1 ? span.from : random.integer(span.from, span.to)
      this.#bytes.fill(0, keptTo, span.to)
      if (keptTo > span.from) end = keptTo
      if (losesPages && random.chance(0.3)) this.#losePage(random, span.from, keptTo)
    }
    this.#size = end
    // Without a throw of the dice, which would make another history of every seed.
    if (end % 2 === 1) this.#length = end
    this.sync()
  }

  #grow(needed: number): void {
    if (needed <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
    grown.set(this.#bytes.subarray(0, this.#size))
    this.#bytes = grown
  }

  #losePage(random: SeededRandom, from: number, to: number): void {
    const pages = Math.floor((to - from) / PAGE_BYTES)
    if (pages < 2) return
    const at = from + random.integer(0, pages - 1) * PAGE_BYTES
    this.#bytes.fill(0, at, at + PAGE_BYTES)
  }
}
