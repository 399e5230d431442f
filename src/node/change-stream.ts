/**
 * Latest-value streams: what changed since the reader last looked, each key once, with its value at the time
 * of reading. A reader that falls behind therefore costs at most one entry a key, never a growing queue.
 */
export class ChangeStream<Key, Value> implements AsyncIterableIterator<Value> {
  private readonly changed = new Set<Key>()
  /** Readers that wait, in the order in which they came. */
  private readonly waiting: (() => void)[] = []
  private ended = false
  private readonly abort = () => this.end()

  constructor(
    private readonly read: (key: Key) => Value,
    private readonly onEnd: (stream: ChangeStream<Key, Value>) => void,
    private readonly signal: AbortSignal | undefined,
  ) {
    if (signal?.aborted) this.end()
    else signal?.addEventListener('abort', this.abort, { once: true })
  }

  push(key: Key): void {
    if (this.ended) return
    this.changed.add(key)
    this.waiting.shift()?.()
  }

  end(): void {
    if (this.ended) return
    this.ended = true
    this.changed.clear()
    this.signal?.removeEventListener('abort', this.abort)
    for (const wake of this.waiting.splice(0)) wake()
    this.onEnd(this)
  }

  async next(): Promise<IteratorResult<Value>> {
    while (this.changed.size === 0) {
      if (this.ended) return { done: true, value: undefined }
      await new Promise<void>((resolve) => this.waiting.push(resolve))
    }
    const key = this.changed.values().next().value as Key
    this.changed.delete(key)
    return { done: false, value: this.read(key) }
  }

  async return(): Promise<IteratorResult<Value>> {
    this.end()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
