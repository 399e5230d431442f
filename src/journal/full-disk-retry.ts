import type { Scheduler, Timer } from '../environment/environment.js'
import { DiskFullError } from '../sync/errors.js'

/** First and longest pause between two tries on a full disk; each is twice the one before. */
const FULL_RETRY_MIN_MS = 100
const FULL_RETRY_MAX_MS = 5000

/** Repeats a write until the disk has space for it. */
export class FullDiskRetry {
  readonly #scheduler: Scheduler
  readonly #onFull: (error: DiskFullError) => void
  readonly #onSpace: () => void
  #givenUp = false
  #pause: { readonly timer: Timer; readonly end: () => void } | undefined

  constructor(scheduler: Scheduler, onFull: (error: DiskFullError) => void, onSpace: () => void) {
    this.#scheduler = scheduler
    this.#onFull = onFull
    this.#onSpace = onSpace
  }

  /** @throws DiskFullError after `giveUp`, and any other error of `write` at once */
  async run<T>(write: () => Promise<T>): Promise<T> {
    for (let delayMs = FULL_RETRY_MIN_MS; ; delayMs = Math.min(2 * delayMs, FULL_RETRY_MAX_MS)) {
      try {
        const result = await write()
        this.#onSpace()
        return result
      } catch (error) {
        if (!(error instanceof DiskFullError)) throw error
        this.#onFull(error)
        if (this.#givenUp) throw error
        await this.#wait(delayMs)
      }
    }
  }

  /** One more try, at once, then no more: the journal is closing. */
  giveUp(): void {
    this.#givenUp = true
    this.#pause?.timer.cancel()
    this.#pause?.end()
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        this.#pause = undefined
        resolve()
      }
      this.#pause = { timer: this.#scheduler.after(delayMs, end), end }
    })
  }
}
