import { OverloadedError } from '../sync/errors.js'

/** Events that a reader may leave waiting; then its stream ends with an OverloadedError, so that it knows. */
export const MAX_EVENTS_WAITING = 10_000

/** A bounded queue of events, each delivered once, in order. */
export class EventStream<T> implements AsyncIterableIterator<T> {
  private readonly queue: T[] = []
  private wake: (() => void) | undefined
  private ended = false
  private failure: Error | undefined

  constructor(
    private readonly onEnd: (stream: EventStream<T>) => void,
    signal: AbortSignal | undefined,
  ) {
    if (signal?.aborted) this.end()
    else signal?.addEventListener('abort', () => this.end(), { once: true })
  }

  push(event: T): void {
    if (this.ended) return
    if (this.queue.length >= MAX_EVENTS_WAITING) {
      this.failure = new OverloadedError(`a subscriber left ${MAX_EVENTS_WAITING} events waiting`)
      this.end()
      return
    }
    this.queue.push(event)
    this.wake?.()
  }

  /** What is queued can still be read. */
  end(): void {
    if (this.ended) return
    this.ended = true
    this.wake?.()
    this.onEnd(this)
  }

  async next(): Promise<IteratorResult<T>> {
    while (this.queue.length === 0) {
      if (this.failure) throw this.failure
      if (this.ended) return { done: true, value: undefined }
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
      this.wake = undefined
    }
    return { done: false, value: this.queue.shift()! }
  }

  async return(): Promise<IteratorResult<T>> {
    this.queue.length = 0
    this.end()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
