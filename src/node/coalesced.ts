import type { Scheduler, Timer } from '../environment/environment.js'

/** A task that is done once on a later turn, however often it was asked for until then. */
export class Coalesced {
  private due: Timer | undefined
  private stopped = false

  constructor(
    private readonly scheduler: Scheduler,
    private readonly task: () => void,
  ) {}

  ask(): void {
    if (!this.stopped) this.due ??= this.scheduler.after(0, () => this.now())
  }

  now(): void {
    this.due?.cancel()
    this.due = undefined
    if (!this.stopped) this.task()
  }

  stop(): void {
    this.stopped = true
    this.due?.cancel()
  }
}
