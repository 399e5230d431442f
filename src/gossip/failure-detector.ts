/**
 * Phi-accrual failure detection (Hayashibara et al. 2004): from how regularly life signs came, how unlikely is
 * the present silence? phi = 8 means that a server which is alive would be silent so long once in 10^8 times.
 * Pure: times come in as monotonic milliseconds.
 */
export interface FailureDetectorOptions {
  /** What is expected between life signs before any has been measured. */
  readonly intervalMs: number
  readonly suspectPhi: number
  readonly deadPhi: number
  /** Added to the mean: game servers stall this long without being dead. */
  readonly acceptablePauseMs: number
}

/** Life signs remembered for mean and deviation. */
const WINDOW = 64
/** Floor of the deviation, as a share of the expected interval: perfect regularity must not mean impatience. */
const MIN_DEVIATION_SHARE = 0.25

export class ArrivalHistory {
  private readonly gaps: number[] = []
  private lastMs: number
  private hastened = false

  constructor(
    nowMs: number,
    private readonly options: FailureDetectorOptions,
  ) {
    this.lastMs = nowMs
  }

  heard(nowMs: number): void {
    const gap = nowMs - this.lastMs
    this.lastMs = nowMs
    this.hastened = false
    if (gap <= 0) return
    // A long silence that ended says nothing about the rhythm; it would only make the detector blind.
    this.gaps.push(Math.min(gap, this.options.intervalMs + this.options.acceptablePauseMs))
    if (this.gaps.length > WINDOW) this.gaps.shift()
  }

  /** This server itself was not running for so long: the silence in that time was its own (Lifeguard's idea). */
  forgive(lagMs: number, nowMs: number): void {
    this.lastMs = Math.min(nowMs, this.lastMs + lagMs)
  }

  /** Something speaks against the server: its silence counts as so much longer, once until it is heard again. */
  hasten(byMs: number): void {
    if (this.hastened) return
    this.hastened = true
    this.lastMs -= byMs
  }

  silenceMs(nowMs: number): number {
    return nowMs - this.lastMs
  }

  phi(nowMs: number): number {
    const { intervalMs, acceptablePauseMs } = this.options
    const count = this.gaps.length
    let mean = intervalMs
    let variance = (intervalMs / 2) ** 2
    if (count >= 4) {
      const measured = this.gaps.reduce((sum, gap) => sum + gap, 0) / count
      variance = this.gaps.reduce((sum, gap) => sum + (gap - measured) ** 2, 0) / count
      // Extra life signs (one goes out whenever a link comes or goes) must not be taken for a quicker rhythm.
      mean = Math.max(measured, intervalMs)
    }
    const deviation = Math.max(Math.sqrt(variance), intervalMs * MIN_DEVIATION_SHARE)
    return phiOfNormal((nowMs - this.lastMs - mean - acceptablePauseMs) / deviation)
  }
}

/** −log10 of the upper tail of the normal distribution, by the logistic approximation (as in Akka's detector). */
function phiOfNormal(deviations: number): number {
  const exponent = -deviations * (1.5976 + 0.070566 * deviations * deviations)
  // Far out the tail underflows; there exponent / ln 10 is exact enough.
  if (exponent < -700) return -exponent / Math.LN10
  const e = Math.exp(exponent)
  return deviations > 0 ? -Math.log10(e / (1 + e)) : -Math.log10(1 - 1 / (1 + e))
}
