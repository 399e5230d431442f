import type { Clock, Scheduler, Timer } from '../environment/environment.js'
import { EventKind } from './kernel/event-queue.js'
import type { SimulatedProcess } from './kernel/process.js'
import type { SeededRandom } from './kernel/random.js'

/** Wall time of virtual time 0: 2026-01-01T00:00:00Z. */
export const EPOCH_MS = 1_767_225_600_000

/** Latest that a timer fires after it is due on an idle process: the granularity of real timers. */
const TIMER_LATENESS_US = 1000
/** What one turn of the event loop costs. Above zero, so that a loop of `soon` cannot stop time. */
const TURN_US = 20

/** The hardware clock of a server: survives restarts, drifts at a constant rate, and its wall time can be set. */
export class ServerClock {
  #wallOffsetMs: number

  /** `rate`: clock seconds per true second, near 1. */
  constructor(
    readonly rate: number,
    wallOffsetMs: number,
  ) {
    this.#wallOffsetMs = wallOffsetMs
  }

  /** Somebody sets the wall clock forward or back. */
  jump(byMs: number): void {
    this.#wallOffsetMs += byMs
  }

  wallMs(nowUs: number): number {
    return EPOCH_MS + Math.floor((nowUs / 1000) * this.rate + this.#wallOffsetMs)
  }

  elapsedMs(sinceUs: number, nowUs: number): number {
    return ((nowUs - sinceUs) / 1000) * this.rate
  }

  /** True microseconds until this clock has counted `delayMs`, rounded up. */
  trueDelayUs(delayMs: number): number {
    return Math.ceil((delayMs * 1000) / this.rate) + 1
  }
}

/** The clock as one process sees it: its monotonic time starts anywhere, so that nobody compares it across servers. */
export class VirtualClock implements Clock {
  readonly #startUs: number

  constructor(
    readonly process: SimulatedProcess,
    readonly serverClock: ServerClock,
    readonly monotonicStartMs: number,
  ) {
    this.#startUs = process.kernel.nowUs
  }

  wallMs(): number {
    return this.serverClock.wallMs(this.process.kernel.nowUs)
  }

  monotonicMs(): number {
    return this.monotonicStartMs + this.serverClock.elapsedMs(this.#startUs, this.process.kernel.nowUs)
  }
}

const NO_TIMER: Timer = { cancel: () => undefined }

export class VirtualScheduler implements Scheduler {
  constructor(
    readonly process: SimulatedProcess,
    readonly serverClock: ServerClock,
    readonly random: SeededRandom,
  ) {}

  after(delayMs: number, task: () => void): Timer {
    if (!this.process.alive) return NO_TIMER
    if (!Number.isFinite(delayMs)) throw new RangeError(`a timer of ${delayMs} ms`)
    const dueUs = this.serverClock.trueDelayUs(Math.max(1, delayMs))
    return this.process.schedule(dueUs + this.random.integer(0, TIMER_LATENESS_US), EventKind.timer, task)
  }

  soon(task: () => void): void {
    if (this.process.alive) this.process.schedule(TURN_US, EventKind.soon, task)
  }
}
