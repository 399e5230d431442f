import type { SimulatedProcess } from './process.js'

/** What an event is about; goes into the trace hash, so numbers are never reused. */
export const EventKind = {
  timer: 1,
  soon: 2,
  network: 3,
  disk: 4,
  compressor: 5,
  fault: 6,
  harness: 7,
  resume: 8,
} as const
export type EventKind = (typeof EventKind)[keyof typeof EventKind]

/** One thing that will happen. `cancel` makes it not happen; idempotent. */
export class KernelEvent {
  constructor(
    readonly atUs: number,
    readonly sequence: number,
    readonly kind: EventKind,
    readonly owner: SimulatedProcess | undefined,
    public run: (() => void) | undefined,
  ) {}

  cancel(): void {
    this.run = undefined
  }
}

function before(left: KernelEvent, right: KernelEvent): boolean {
  return left.atUs < right.atUs || (left.atUs === right.atUs && left.sequence < right.sequence)
}

/** Binary heap ordered by time, then by the order of scheduling. */
export class EventQueue {
  readonly #heap: KernelEvent[] = []

  get size(): number {
    return this.#heap.length
  }

  peek(): KernelEvent | undefined {
    return this.#heap[0]
  }

  push(event: KernelEvent): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent] as KernelEvent
      if (!before(event, above)) break
      heap[at] = above
      at = parent
    }
    heap[at] = event
  }

  pop(): KernelEvent | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (top === undefined || last === undefined || heap.length === 0) return top
    const half = heap.length >> 1
    let at = 0
    while (at < half) {
      let child = 2 * at + 1
      const right = child + 1
      if (right < heap.length && before(heap[right] as KernelEvent, heap[child] as KernelEvent)) child = right
      const below = heap[child] as KernelEvent
      if (!before(below, last)) break
      heap[at] = below
      at = child
    }
    heap[at] = last
    return top
  }
}
