import { type LedgerEntry, type LedgerFilter, passes } from './entry.js'
import type { LedgerCursor, LedgerStore } from './store.js'

/** Entries that a server without a disk keeps. */
export const MAX_ENTRIES_IN_MEMORY = 10_000
const ENTRIES_A_READ = 256

/** The last entries, in memory. */
export class MemoryStore implements LedgerStore {
  private entries: LedgerEntry[] = []
  /** Entries that were here and are no more. */
  private dropped = 0

  async append(entries: readonly LedgerEntry[]): Promise<void> {
    this.entries.push(...entries)
    // Now and then and not each time: an array is cut at its beginning by copying it.
    if (this.entries.length <= 2 * MAX_ENTRIES_IN_MEMORY) return
    const excess = this.entries.length - MAX_ENTRIES_IN_MEMORY
    this.entries = this.entries.slice(excess)
    this.dropped += excess
  }

  async sync(): Promise<void> {}

  oldest(): LedgerCursor {
    return this.cursorAt(Math.max(this.dropped, this.end - MAX_ENTRIES_IN_MEMORY))
  }

  async newest(limit: number, filter: LedgerFilter) {
    const kept = this.entries.slice(-MAX_ENTRIES_IN_MEMORY)
    return {
      entries: kept.filter((entry) => passes(entry, filter)).slice(-limit),
      cursor: this.cursorAt(this.end),
    }
  }

  async close(): Promise<void> {}

  private get end(): number {
    return this.dropped + this.entries.length
  }

  private cursorAt(start: number): LedgerCursor {
    let position = start
    return {
      next: async () => {
        if (position < this.dropped) {
          const missing = this.dropped - position
          position = this.dropped
          const timeMs = this.entries[0]?.timeMs ?? 0
          return [{ type: 'gap', timeMs, reason: 'removed', missing }]
        }
        const from = position - this.dropped
        const read = this.entries.slice(from, from + ENTRIES_A_READ)
        position += read.length
        return read.length > 0 ? read : undefined
      },
    }
  }
}
