/** A first-in first-out queue of messages that knows its bytes; taking from the front costs nothing. */
export class MessageQueue {
  private items: Uint8Array[] = []
  private head = 0
  bytes = 0

  get length(): number {
    return this.items.length - this.head
  }

  push(message: Uint8Array): void {
    this.items.push(message)
    this.bytes += message.length
  }

  /** Takes from the front as many as fit `maxBytes` (but one at least) and `maxMessages`. */
  take(maxBytes: number, maxMessages: number): Uint8Array[] {
    let count = 0
    let taken = 0
    while (count < this.length && count < maxMessages) {
      const size = this.items[this.head + count]!.length
      if (count > 0 && taken + size > maxBytes) break
      taken += size
      count += 1
    }
    const messages = this.items.slice(this.head, this.head + count)
    this.head += count
    this.bytes -= taken
    // Cut off what was taken once it is the larger part, so that each item is moved at most once.
    if (this.head * 2 >= this.items.length) {
      this.items = this.items.slice(this.head)
      this.head = 0
    }
    return messages
  }

  clear(): void {
    this.items = []
    this.head = 0
    this.bytes = 0
  }
}
