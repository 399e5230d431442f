import type { Quantity } from '../crdt/rights.js'

/** Rights worth this long a demand are held in reserve, so that withdrawals meanwhile are backed. */
const RESERVE_MS = 10_000
/**
 * Demand for less than this in a reserve's time is none: half a minute after a single withdrawal. One item in that time
 * would be too much, for then no item that is wanted every few seconds would ever have its rights at hand.
 */
const LEAST_RESERVE = 0.05
/** Demand is forgotten with this time constant. */
const MEMORY_MS = 10_000

/**
 * How much of one item is withdrawn here, as an exponentially weighted rate. What it yields moves rights, never
 * items, so doubles are exact enough.
 */
export class Demand {
  private perMs = 0
  private atMs: number

  constructor(nowMs: number) {
    this.atMs = nowMs
  }

  add(amount: Quantity, nowMs: number): void {
    this.decay(nowMs)
    this.perMs += Number(amount) / MEMORY_MS
  }

  /** Rights that should be at hand. */
  reserve(nowMs: number): Quantity {
    this.decay(nowMs)
    const reserve = Math.ceil(this.perMs * RESERVE_MS)
    return Number.isSafeInteger(reserve) ? reserve : BigInt(reserve)
  }

  /** Hardly wanted any more. */
  isIdle(nowMs: number): boolean {
    this.decay(nowMs)
    return this.perMs * RESERVE_MS < LEAST_RESERVE
  }

  private decay(nowMs: number): void {
    const elapsedMs = Math.max(0, nowMs - this.atMs)
    this.perMs *= Math.exp(-elapsedMs / MEMORY_MS)
    this.atMs = Math.max(nowMs, this.atMs)
  }
}
