/**
 * Runs tasks in the order given, each after the current job is done: for events to an owner who must not be
 * called from within one of its own calls.
 */
export class EventQueue {
  private tasks: (() => void)[] = []
  private queued = false

  push(task: () => void): void {
    this.tasks.push(task)
    this.schedule()
  }

  private schedule(): void {
    if (this.queued) return
    this.queued = true
    queueMicrotask(() => this.run())
  }

  private run(): void {
    this.queued = false
    const tasks = this.tasks
    this.tasks = []
    try {
      while (tasks.length > 0) tasks.shift()!()
    } finally {
      // A task that throws is a defect that stays visible; the others' events must still come, in order.
      this.tasks.unshift(...tasks)
      if (this.tasks.length > 0) this.schedule()
    }
  }
}
