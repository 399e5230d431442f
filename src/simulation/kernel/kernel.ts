import { type EventKind, EventQueue, KernelEvent } from './event-queue.js'
import { RunningHash } from './hash.js'
import { runSteps } from './macrotask.js'
import type { SimulatedProcess } from './process.js'
import { SeededRandom } from './random.js'

/** More waiting events than this mean that something schedules without end. */
const MAX_WAITING_EVENTS = 5_000_000

export interface KernelOptions {
  readonly seed: number | string
  /** Called with what an event threw. Without it `run` rejects with the error. */
  readonly onError?: (error: unknown, owner: SimulatedProcess | undefined) => void
}

/**
 * Virtual time for a whole network of servers: events in one queue, time that jumps to the next of them,
 * every promise reaction done before the next one starts. Time is in whole microseconds from 0.
 */
export class Kernel {
  readonly random: SeededRandom
  readonly hash = new RunningHash()
  readonly #queue = new EventQueue()
  readonly #onError: KernelOptions['onError']
  #nowUs = 0
  #sequence = 0
  #executed = 0
  #owner: SimulatedProcess | undefined
  #running = false
  #stopped = false

  constructor(options: KernelOptions) {
    this.random = new SeededRandom(options.seed)
    this.#onError = options.onError
  }

  get nowUs(): number {
    return this.#nowUs
  }

  /** The process whose event runs now, promise reactions included; undefined for the network and the harness. */
  get owner(): SimulatedProcess | undefined {
    return this.#owner
  }

  /** Events that have been run. */
  get executed(): number {
    return this.#executed
  }

  get waiting(): number {
    return this.#queue.size
  }

  /** Runs `task` `delayUs` from now; with an owner only while that process lives, and late while it is blocked. */
  schedule(delayUs: number, kind: EventKind, task: () => void, owner?: SimulatedProcess): KernelEvent {
    const atUs = this.#nowUs + Math.max(0, Math.ceil(delayUs))
    const event = new KernelEvent(atUs, this.#sequence++, kind, owner, task)
    this.#queue.push(event)
    if (this.#queue.size > MAX_WAITING_EVENTS) throw new RangeError('the event queue grows without bound')
    return event
  }

  /** Puts a fact into the trace hash: numbers that describe what happened at this instant. */
  record(kind: number, server: number, detail: number, content: number): void {
    this.hash.add((kind << 16) ^ server)
    this.hash.add(detail)
    this.hash.add(content)
  }

  /** Ends the current `run` after the event that calls it. */
  stop(): void {
    this.#stopped = true
  }

  /** Runs until that time (all events up to and at it), or until `stop`. Time ends at `untilUs` unless stopped. */
  async run(untilUs: number): Promise<void> {
    if (this.#running) throw new Error('the kernel is running already')
    this.#running = true
    this.#stopped = false
    try {
      await runSteps(() => this.#step(untilUs))
      if (!this.#stopped) this.#nowUs = Math.max(this.#nowUs, untilUs)
    } finally {
      this.#running = false
    }
  }

  /** For what the network hands to a process in an event of its own: from here on it is the process's. */
  actAs(owner: SimulatedProcess, task: () => void): void {
    this.#owner = owner
    task()
  }

  /** For a blocked process: an event of this instant that is not in the queue. */
  eventNow(kind: EventKind, task: () => void, owner: SimulatedProcess): KernelEvent {
    return new KernelEvent(this.#nowUs, this.#sequence++, kind, owner, task)
  }

  /** Kernel and process only: runs an event that has come due. */
  execute(event: KernelEvent): void {
    const task = event.run
    if (task === undefined) return
    this.#executed++
    this.#owner = event.owner
    this.hash.addLarge(this.#nowUs)
    this.hash.add((event.kind << 16) ^ (event.owner === undefined ? 0xffff : event.owner.server))
    try {
      task()
    } catch (error) {
      if (this.#onError === undefined) throw error
      this.#onError(error, event.owner)
    }
  }

  #step(untilUs: number): boolean {
    while (!this.#stopped) {
      const next = this.#queue.peek()
      if (next === undefined || next.atUs > untilUs) return false
      this.#queue.pop()
      const owner = next.owner
      if (next.run === undefined || (owner !== undefined && !owner.alive)) continue
      this.#nowUs = next.atUs
      if (owner?.blocked) {
        owner.hold(next)
        continue
      }
      this.execute(next)
      return true
    }
    return false
  }
}
