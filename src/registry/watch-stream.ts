import { OverloadedError } from '../sync/errors.js'

/** Changes that a reader may leave waiting; then its stream ends with an OverloadedError, so that it knows. */
export const MAX_CHANGES_WAITING = 10_000

/** A bounded queue of changes for one reader, each delivered once, in order. */
export class WatchStream<T> implements AsyncIterableIterator<T> {
  private queue: T[] = []
  private taken = 0
  private readonly waiting: ((result: IteratorResult<T>) => void)[] = []
  private failure: Error | undefined
  private ended = false
  private readonly abort = () => this.end()

  constructor(
    private readonly onEnd: (stream: WatchStream<T>) => void,
    private readonly signal: AbortSignal | undefined,
  ) {
    if (signal?.aborted) this.end()
    else signal?.addEventListener('abort', this.abort, { once: true })
  }

  push(change: T): void {
    if (this.ended) return
    const reader = this.waiting.shift()
    if (reader !== undefined) {
      reader({ done: false, value: change })
      return
    }
    if (this.queue.length - this.taken >= MAX_CHANGES_WAITING) {
      this.failure = new OverloadedError(`a reader left ${MAX_CHANGES_WAITING} changes waiting`)
      this.end()
      return
    }
    this.queue.push(change)
  }

  /** What waits can still be read. */
  end(): void {
    if (this.ended) return
    this.ended = true
    this.signal?.removeEventListener('abort', this.abort)
    for (const reader of this.waiting.splice(0)) reader({ done: true, value: undefined })
    this.onEnd(this)
  }

  async next(): Promise<IteratorResult<T>> {
    if (this.taken < this.queue.length) {
      const value = this.queue[this.taken++]!
      if (this.taken * 2 > this.queue.length) {
        this.queue = this.queue.slice(this.taken)
        this.taken = 0
      }
      return { done: false, value }
    }
    if (this.failure) throw this.failure
    if (this.ended) return { done: true, value: undefined }
    return new Promise((resolve) => this.waiting.push(resolve))
  }

  async return(): Promise<IteratorResult<T>> {
    this.queue = []
    this.taken = 0
    this.end()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
