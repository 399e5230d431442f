/**
 * Limits a rate while allowing bursts: holds up to `burst` tokens and wins back `perSecond`. A taker may
 * overdraw by one take, so that something larger than the burst still passes, late.
 */
export class TokenBucket {
  private tokens: number
  private atMs: number

  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
    nowMs: number,
  ) {
    this.tokens = burst
    this.atMs = nowMs
  }

  /** Milliseconds until something may be taken; 0 now. */
  waitMs(nowMs: number): number {
    this.refill(nowMs)
    return this.tokens > 0 ? 0 : ((1 - this.tokens) / this.perSecond) * 1000
  }

  take(count: number): void {
    this.tokens -= count
  }

  private refill(nowMs: number): void {
    this.tokens = Math.min(this.burst, this.tokens + ((nowMs - this.atMs) / 1000) * this.perSecond)
    this.atMs = nowMs
  }
}
