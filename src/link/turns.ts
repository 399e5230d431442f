import type { Clock, Scheduler } from '../environment/environment.js'

/** Most time that all links together spend on arrived messages in one turn of the event loop. */
export const SLICE_BUDGET_MS = 4
/** Share of one link before the next one has its turn. */
const LINK_SLICE_MS = 1

/** Somebody with work that can be done bit by bit. */
export interface SlicedTask {
  /** Works until nothing is left or the monotonic clock has reached `untilMs`; true when more is left. */
  workUntil(untilMs: number): boolean
}

/**
 * Shares the turns of the event loop fairly among links, so that a flood over one delays the others by a
 * millisecond, and the game by four.
 */
export class Turns {
  private ready: SlicedTask[] = []
  private readonly waiting = new Set<SlicedTask>()
  private scheduled = false

  constructor(
    private readonly clock: Clock,
    private readonly scheduler: Scheduler,
  ) {}

  /** The task has work. Idempotent until it has been asked to work. */
  request(task: SlicedTask): void {
    if (this.waiting.has(task)) return
    this.waiting.add(task)
    this.ready.push(task)
    this.schedule()
  }

  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    this.scheduler.soon(() => this.turn())
  }

  private turn(): void {
    this.scheduled = false
    const endMs = this.clock.monotonicMs() + SLICE_BUDGET_MS
    try {
      while (this.ready.length > 0) {
        const nowMs = this.clock.monotonicMs()
        if (nowMs >= endMs) break
        const task = this.ready.shift()!
        this.waiting.delete(task)
        const lastOfAll = this.ready.length === 0
        if (task.workUntil(lastOfAll ? endMs : Math.min(endMs, nowMs + LINK_SLICE_MS))) this.request(task)
      }
    } finally {
      // Also when a task threw: that is its own defect, the others still have work.
      if (this.ready.length > 0) this.schedule()
    }
  }
}
