/**
 * Append messages that a follower has not answered yet, bounded by number and by bytes: what bounds the
 * memory that a slow follower can cost. Acknowledging an index frees every message up to it.
 */
export class Inflights {
  readonly #maxMessages: number
  readonly #maxBytes: number
  #window: { readonly lastIndex: number; readonly bytes: number }[] = []
  #start = 0
  #bytes = 0

  constructor(maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages
    this.#maxBytes = maxBytes
  }

  get count(): number {
    return this.#window.length - this.#start
  }

  get bytes(): number {
    return this.#bytes
  }

  /** One message may pass the byte bound, else a window smaller than an entry would never move. */
  get full(): boolean {
    return this.count >= this.#maxMessages || this.#bytes >= this.#maxBytes
  }

  add(lastIndex: number, bytes: number): void {
    this.#window.push({ lastIndex, bytes })
    this.#bytes += bytes
  }

  freeTo(index: number): void {
    while (this.#start < this.#window.length && this.#window[this.#start]!.lastIndex <= index) {
      this.#bytes -= this.#window[this.#start]!.bytes
      this.#start += 1
    }
    if (this.#start > 64 && this.#start * 2 > this.#window.length) {
      this.#window = this.#window.slice(this.#start)
      this.#start = 0
    }
  }

  reset(): void {
    this.#window = []
    this.#start = 0
    this.#bytes = 0
  }
}
