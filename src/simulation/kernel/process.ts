import { EventKind, type KernelEvent } from './event-queue.js'
import type { Kernel } from './kernel.js'

/**
 * One run of an operating-system process on a simulated server. A restart is a new object, so nothing that
 * belonged to the old one can run again: its timers, sockets and pending promises are simply never called.
 *
 * While *blocked* (SIGSTOP, a long garbage collection, a game tick that takes 200 ms) its events wait in
 * order and are delivered late, one by one, when it runs again: as a real event loop does.
 */
export class SimulatedProcess {
  #alive = true
  #blockedUntilUs = 0
  #waiting: KernelEvent[] = []
  #resuming = false
  readonly #atDeath: (() => void)[] = []

  constructor(
    readonly kernel: Kernel,
    /** Number of the server, for the trace. */
    readonly server: number,
    /** 1 for the first process of that server, counting up. */
    readonly generation: number,
  ) {}

  get alive(): boolean {
    return this.#alive
  }

  get blocked(): boolean {
    return this.#blockedUntilUs > this.kernel.nowUs || this.#waiting.length > 0
  }

  /** Runs `task` as an event of this process, `delayUs` from now; never if it dies before. */
  schedule(delayUs: number, kind: EventKind, task: () => void): KernelEvent {
    return this.kernel.schedule(delayUs, kind, task, this)
  }

  /** Keeps events from this process until that time. A later time already set stays. */
  blockUntil(timeUs: number): void {
    if (!this.#alive || timeUs <= this.#blockedUntilUs) return
    this.#blockedUntilUs = timeUs
    this.#resumeLater()
  }

  /** Whatever blocks it ends now. */
  unblock(): void {
    this.#blockedUntilUs = 0
    if (this.#waiting.length > 0) this.kernel.schedule(0, EventKind.resume, () => this.#resume())
  }

  /** The process is gone. Idempotent. */
  kill(): void {
    if (!this.#alive) return
    this.#alive = false
    this.#waiting = []
    for (const task of this.#atDeath.splice(0)) task()
  }

  /** Called at death by what the operating system would clean up: sockets and locks. */
  onDeath(task: () => void): void {
    this.#atDeath.push(task)
  }

  /** Something arrives from outside: taken at once, or when the process runs again, or never if it is dead. */
  deliver(kind: EventKind, task: () => void): void {
    if (!this.#alive) return
    if (this.blocked) this.hold(this.kernel.eventNow(kind, task, this))
    else this.kernel.actAs(this, task)
  }

  /** Kernel only: an event has come due while the process could not take it. */
  hold(event: KernelEvent): void {
    this.#waiting.push(event)
    this.#resumeLater()
  }

  #resumeLater(): void {
    if (this.#resuming) return
    this.#resuming = true
    const delayUs = Math.max(0, this.#blockedUntilUs - this.kernel.nowUs)
    this.kernel.schedule(delayUs, EventKind.resume, () => this.#resume())
  }

  #resume(): void {
    this.#resuming = false
    if (!this.#alive) return
    if (this.#blockedUntilUs <= this.kernel.nowUs) {
      const event = this.#waiting.shift()
      if (event !== undefined) this.kernel.execute(event)
      if (this.#waiting.length === 0) return
    }
    if (this.#alive) this.#resumeLater()
  }
}
