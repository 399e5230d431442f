import type { Environment, Timer } from '../environment/environment.js'
import { AbortedError } from '../sync/errors.js'

interface DeadlineOptions {
  readonly environment: Pick<Environment, 'clock' | 'scheduler'>
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
  /** What to throw when the time is up. */
  readonly expired: () => Error
}

/** One end for several waits: a time, an AbortSignal, or `end`. */
export class Deadline {
  private readonly endMs: number
  private readonly timer: Timer
  private readonly aborted = () => this.end(new AbortedError('the signal fired while waiting'))
  private readonly waiting = new Set<(error: Error) => void>()
  private failure: Error | undefined

  constructor(private readonly options: DeadlineOptions) {
    const { environment, timeoutMs, signal, expired } = options
    this.endMs = environment.clock.monotonicMs() + timeoutMs
    this.timer = environment.scheduler.after(timeoutMs, () => this.end(expired()))
    if (signal?.aborted) this.aborted()
    else signal?.addEventListener('abort', this.aborted, { once: true })
  }

  /** Milliseconds left, above 0. @throws what it ended with */
  restMs(): number {
    if (this.failure) throw this.failure
    const restMs = this.endMs - this.options.environment.clock.monotonicMs()
    if (restMs > 0) return restMs
    throw this.options.expired()
  }

  /** Ends all waits with the error; later ones at once. */
  end(error: Error): void {
    this.failure ??= error
    for (const reject of [...this.waiting]) reject(this.failure)
  }

  /** Settles as `work` does, or with the end when that comes first; then what `work` does goes unheard. */
  wait<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const stop = (error: Error) => {
        this.waiting.delete(stop)
        reject(error)
      }
      this.waiting.add(stop)
      work.then(resolve, reject).finally(() => this.waiting.delete(stop))
      if (this.failure) stop(this.failure)
    })
  }

  dispose(): void {
    this.timer.cancel()
    this.options.signal?.removeEventListener('abort', this.aborted)
  }
}
