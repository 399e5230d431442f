/** Kinds of items that are remembered one by one, as changed or as waiting; when there are more, all are walked over. */
export const MAX_REMEMBERED = 1_024

/**
 * Which kinds of items a transfer looks at next. At first all of its source, with a cursor; then only those that
 * change. So a storage of many kinds is walked once, in pieces, and an idle one not at all.
 */
export class Candidates {
  private readonly marked = new Set<number>()
  /** Seen by the last look: they are there, but the rights to them are elsewhere. */
  private readonly waiting = new Set<number>()
  private cursor: IterableIterator<number> | undefined
  /** Something could not be remembered: when the cursor has arrived it begins anew. */
  private walkAgain = false
  /** The same of what waits: after the next `retry`. */
  private walkToRetry = false
  private cursorsTurn = false

  /** `entries` walks over all kinds of the source, those added meanwhile included. */
  constructor(private readonly entries: () => IterableIterator<number>) {
    this.cursor = entries()
  }

  /** Anything may have changed. */
  walk(): void {
    this.walkAgain = true
  }

  /** Something may be there to move. */
  mark(entry: number): void {
    if (this.marked.size < MAX_REMEMBERED) this.marked.add(entry)
    else this.walkAgain = true
  }

  /** It is there, without the rights to it. */
  wait(entry: number): void {
    if (this.waiting.size < MAX_REMEMBERED) this.waiting.add(entry)
    else this.walkToRetry = true
  }

  get isWaiting(): boolean {
    return this.waiting.size > 0
  }

  /** Kinds known to wait; at most `MAX_REMEMBERED`, whatever there is. */
  get waitingCount(): number {
    return this.waiting.size
  }

  /** Takes the next one; undefined when all have been looked at. Kinds that change do not keep the others back. */
  next(): number | undefined {
    this.cursorsTurn = !this.cursorsTurn
    const entry = this.cursorsTurn
      ? (this.fromCursor() ?? this.fromMarked())
      : (this.fromMarked() ?? this.fromCursor())
    if (entry !== undefined) this.waiting.delete(entry)
    return entry
  }

  /** Those that wait for rights are to be looked at again. */
  retry(): void {
    for (const entry of this.waiting) this.mark(entry)
    this.walkAgain ||= this.walkToRetry
    this.walkToRetry = false
  }

  private fromMarked(): number | undefined {
    for (const entry of this.marked) {
      this.marked.delete(entry)
      return entry
    }
    return undefined
  }

  private fromCursor(): number | undefined {
    for (;;) {
      const step = this.cursor?.next()
      if (step && !step.done) return step.value
      this.cursor = undefined
      if (!this.walkAgain) return undefined
      this.walkAgain = false
      this.cursor = this.entries()
    }
  }
}
