/** Who waits in a `WaiterQueue`, for a write of that number. */
export interface QueuedWaiter {
  readonly number: number
  /** It waits no more: its time was up, or it was aborted. */
  readonly isDone: boolean
}

/**
 * Waiters for the writes of one replica, by number. Those that a new acknowledgement serves are at the front, so
 * that each is looked at once, however many wait behind.
 */
export class WaiterQueue<Waiter extends QueuedWaiter> {
  /** Ascending by number. Before `head` all have been taken. */
  private waiters: Waiter[] = []
  private head = 0
  private done = 0

  get isEmpty(): boolean {
    return this.head === this.waiters.length
  }

  add(waiter: Waiter): void {
    const { waiters } = this
    // Numbers are given in ascending order: nearly always it is the last.
    let at = waiters.length
    if (at > this.head && waiters[at - 1]!.number > waiter.number) at = this.firstAbove(waiter.number)
    if (at === waiters.length) waiters.push(waiter)
    else waiters.splice(at, 0, waiter)
  }

  /** Removes and returns those that wait for a write up to `number`. */
  takeUpTo(number: number): Waiter[] {
    const taken: Waiter[] = []
    for (; this.head < this.waiters.length; this.head++) {
      const waiter = this.waiters[this.head]!
      if (waiter.number > number) break
      if (waiter.isDone) this.done -= 1
      else taken.push(waiter)
    }
    this.compact()
    return taken
  }

  /** One of them waits no more. */
  hasDone(): void {
    this.done += 1
    this.compact()
  }

  private firstAbove(number: number): number {
    let low = this.head
    let high = this.waiters.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.waiters[middle]!.number <= number) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Once most of it is of no use any more, so that the cost is spread over those that have gone. */
  private compact(): void {
    if (2 * (this.head + this.done) <= this.waiters.length) return
    this.waiters = this.waiters.slice(this.head).filter(({ isDone }) => !isDone)
    this.head = 0
    this.done = 0
  }
}
