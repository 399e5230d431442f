import type { Quantity } from '../crdt/rights.js'

/** Rights worth this long a demand are held in reserve, so that withdrawals meanwhile are backed. */
const RESERVE_MS = 10_000
/**
 * Demand that has not come again for so long is none, however large it was: the last rights of who withdrew a million
 * would be kept from others for minutes. Any sooner, and no item that is wanted every few seconds would ever have its
 * rights at hand.
 */
export const FORGOTTEN_AFTER_MS = 30_000
/** Demand is forgotten with this time constant. */
const MEMORY_MS = 10_000

/**
 * How much of one item is withdrawn here, as an exponentially weighted rate. What it yields moves rights, never
 * items, so doubles are exact enough.
 */
export class Demand {
  private perMs = 0
  private atMs: number
  /** When it last came. */
  private lastMs = Number.NEGATIVE_INFINITY

  constructor(nowMs: number) {
    this.atMs = nowMs
  }

  /** So many more were wanted. */
  add(amount: Quantity, nowMs: number): void {
    this.decay(nowMs)
    this.perMs += Number(amount) / MEMORY_MS
    this.lastMs = this.atMs
  }

  /** So many are wanted, perhaps the same ones as before: they make up a reserve once, however often this is said. */
  keep(amount: Quantity, nowMs: number): void {
    this.decay(nowMs)
    this.perMs = Math.max(this.perMs, Number(amount) / RESERVE_MS)
    this.lastMs = this.atMs
  }

  /** Rights that should be at hand. */
  reserve(nowMs: number): Quantity {
    this.decay(nowMs)
    const reserve = Math.ceil(this.perMs * RESERVE_MS)
    return Number.isSafeInteger(reserve) ? reserve : BigInt(reserve)
  }

  /** Not wanted any more. */
  isIdle(nowMs: number): boolean {
    this.decay(nowMs)
    return this.perMs === 0
  }

  private decay(nowMs: number): void {
    const elapsedMs = Math.max(0, nowMs - this.atMs)
    this.atMs = Math.max(nowMs, this.atMs)
    if (this.atMs - this.lastMs >= FORGOTTEN_AFTER_MS) this.perMs = 0
    else this.perMs *= Math.exp(-elapsedMs / MEMORY_MS)
  }
}
