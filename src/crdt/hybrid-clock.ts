/**
 * Hybrid logical clock (Kulkarni et al. 2014): close to wall time, yet later than everything it has seen.
 * A timestamp is (wallMs, counter); ties between servers are broken by replica id where it matters.
 */
export interface HybridTimestamp {
  readonly wallMs: number
  readonly counter: number
}

/** How far ahead of this server's wall clock a remote timestamp may pull the hybrid clock. */
export const MAX_CLOCK_AHEAD_MS = 60_000

export class HybridClock {
  private last: HybridTimestamp = { wallMs: 0, counter: 0 }

  /** `readWallMs` comes from the Environment. */
  constructor(private readonly readWallMs: () => number) {}

  /** A timestamp later than every one issued or observed before. */
  next(): HybridTimestamp {
    const now = Math.floor(this.readWallMs())
    const { wallMs, counter } = this.last
    this.last = now > wallMs ? { wallMs: now, counter: 0 } : { wallMs, counter: counter + 1 }
    return this.last
  }

  /**
   * Takes note of a timestamp from elsewhere. One that lies more than `MAX_CLOCK_AHEAD_MS` in the future
   * is not followed, so that a single server with a wrong clock cannot drag all others along.
   */
  observe(timestamp: HybridTimestamp): void {
    if (timestamp.wallMs > this.readWallMs() + MAX_CLOCK_AHEAD_MS) return
    this.restore(timestamp)
  }

  /** Takes note of a timestamp that this server itself issued before a restart, however far ahead. */
  restore(timestamp: HybridTimestamp): void {
    if (compareTimestamps(timestamp, this.last) > 0) this.last = timestamp
  }
}

/** Negative, zero or positive, as `left` is earlier than, equal to or later than `right`. */
export function compareTimestamps(
  left: { wallMs: number; counter: number },
  right: { wallMs: number; counter: number },
): number {
  return left.wallMs - right.wallMs || left.counter - right.counter
}
