/** Credit is counted in items × microseconds: whole numbers below 2^53 for every rate, so nothing drifts. */
const ITEM = 1_000_000
/** What is saved up while nothing is moved: so much time's worth, beside the item that a slow rate adds up to. */
export const BURST_US = 500_000

/**
 * How many items may be moved by now, at a rate of items per second (a token bucket). It begins empty, so that an
 * owner that takes over gives no second burst. Over any time t it yields at most rate × (t + `BURST_US`) + 1 items
 * (invariant T2).
 */
export class Budget {
  private credit = 0

  constructor(
    private rate: number,
    private atUs: number,
  ) {}

  /** Whole items. */
  available(nowUs: number): number {
    this.accrue(nowUs)
    return Math.floor(this.credit / ITEM)
  }

  spend(items: number): void {
    this.credit -= items * ITEM
  }

  /** When the next whole item is there; not before the last time that it was asked. */
  readyAtUs(): number {
    return this.atUs + Math.max(0, Math.ceil((ITEM - this.credit) / this.rate))
  }

  /** From now on. */
  setRate(rate: number, nowUs: number): void {
    this.accrue(nowUs)
    this.rate = rate
    this.credit = Math.min(this.credit, this.most())
  }

  private accrue(nowUs: number): void {
    if (nowUs <= this.atUs) return
    // A product beyond 2^53 is inexact, and far above the most that is kept.
    this.credit = Math.min(this.most(), this.credit + this.rate * (nowUs - this.atUs))
    this.atUs = nowUs
  }

  private most(): number {
    return ITEM + this.rate * BURST_US
  }
}
