interface Due<Task> {
  readonly atUs: number
  /** Those due at one time go in the order in which they were put in. */
  readonly turn: number
  readonly task: Task
}

/** What is to be done when, each task at most once: a binary heap; a task put in anew has its new time alone. */
export class DueQueue<Task> {
  private readonly heap: Due<Task>[] = []
  private readonly current = new Map<Task, Due<Task>>()
  private turns = 0

  /** How many tasks wait. */
  get size(): number {
    return this.current.size
  }

  put(task: Task, atUs: number): void {
    const due = { atUs, turn: this.turns++, task }
    this.current.set(task, due)
    this.rise(this.heap.push(due) - 1, due)
    // Places that tasks have left: never more than there are tasks.
    if (this.heap.length > 2 * this.current.size + 16) this.rebuild()
  }

  remove(task: Task): void {
    this.current.delete(task)
  }

  atUs(task: Task): number | undefined {
    return this.current.get(task)?.atUs
  }

  /** The earliest time at which anything is due. */
  nextUs(): number | undefined {
    this.dropLeft()
    return this.heap[0]?.atUs
  }

  /** The task that has been due for longest, taken out. */
  take(nowUs: number): Task | undefined {
    this.dropLeft()
    const first = this.heap[0]
    if (first === undefined || first.atUs > nowUs) return undefined
    this.pop()
    this.current.delete(first.task)
    return first.task
  }

  private dropLeft(): void {
    while (this.heap.length > 0 && this.current.get(this.heap[0]!.task) !== this.heap[0]) this.pop()
  }

  private rebuild(): void {
    this.heap.length = 0
    for (const due of this.current.values()) this.rise(this.heap.push(due) - 1, due)
  }

  private rise(place: number, due: Due<Task>): void {
    const { heap } = this
    for (
      let parent = (place - 1) >> 1;
      place > 0 && isBefore(due, heap[parent]!);
      parent = (place - 1) >> 1
    ) {
      heap[place] = heap[parent]!
      place = parent
    }
    heap[place] = due
  }

  private pop(): void {
    const { heap } = this
    const last = heap.pop()!
    if (heap.length === 0) return
    let place = 0
    for (let child = 1; child < heap.length; child = 2 * place + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1
      if (!isBefore(heap[child]!, last)) break
      heap[place] = heap[child]!
      place = child
    }
    heap[place] = last
  }
}

function isBefore(left: Due<unknown>, right: Due<unknown>): boolean {
  return left.atUs < right.atUs || (left.atUs === right.atUs && left.turn < right.turn)
}
