import type { Expiry } from './commands.js'
import type { Lease } from './leases.js'

/**
 * The leader's watch over leases: which have gone unrenewed for their time. It counts time that it is told of
 * and decides nothing itself: what it finds is proposed as `expire-leases`, and the log decides. A new leader
 * starts with full terms, so a lease may live longer than promised but never shorter.
 */
export class LeaseExpiry {
  readonly #watched = new Map<number, { renewals: number; remainingMs: number }>()

  /** Leadership was won or lost: all terms begin anew. */
  reset(): void {
    this.#watched.clear()
  }

  /**
   * `elapsedMs` of monotonic time have passed and `leases` are what is applied now. Returns at most `limit`
   * overdue ones; they are returned again after `RETRY_MS`, should the proposal get lost.
   */
  elapse(elapsedMs: number, leases: readonly Lease[], limit: number): Expiry[] {
    const overdue: Expiry[] = []
    const alive = new Set<number>()
    for (const { id, ttlMs, renewals } of leases) {
      alive.add(id)
      const watched = this.#watched.get(id)
      if (watched === undefined || watched.renewals !== renewals) {
        this.#watched.set(id, { renewals, remainingMs: ttlMs })
        continue
      }
      watched.remainingMs -= elapsedMs
      if (watched.remainingMs > 0 || overdue.length >= limit) continue
      overdue.push({ lease: id, renewals })
      watched.remainingMs = Math.min(ttlMs, RETRY_MS)
    }
    for (const id of this.#watched.keys()) if (!alive.has(id)) this.#watched.delete(id)
    return overdue
  }
}

/** After which a lost expiry is proposed again. */
const RETRY_MS = 1000
