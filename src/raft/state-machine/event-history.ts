import { RevisionCompactedError } from '../../sync/errors.js'
import { type KeyEvent, keyValueBytes } from './key-value-store.js'

/** What happened to keys with the prefix, and where to go on. */
export interface WatchPage {
  readonly events: readonly KeyEvent[]
  /** First revision that has not been looked at: the `fromRevision` of the next page. */
  readonly nextRevision: number
}

export function keyOf(event: KeyEvent): string {
  return event.kind === 'put' ? event.current.key : event.key
}

function eventBytes(event: KeyEvent): number {
  const current = event.kind === 'put' ? keyValueBytes(event.current) : 0
  return current + (event.previous === undefined ? 0 : keyValueBytes(event.previous))
}

/**
 * The latest changes, for watchers that are behind. A watcher holds only its next revision and asks; a slow
 * one costs nothing and, when it is too slow, is told so and reads the state anew. The history is local:
 * it is not part of snapshots, so after restoring one it begins anew.
 */
export class EventHistory {
  readonly #maxEvents: number
  readonly #maxBytes: number
  #events: KeyEvent[] = []
  #start = 0
  #bytes = 0
  /** Events up to and including this revision are gone. */
  #compacted: number

  constructor(maxEvents: number, maxBytes: number, compactedRevision: number) {
    this.#maxEvents = maxEvents
    this.#maxBytes = maxBytes
    this.#compacted = compactedRevision
  }

  get compactedRevision(): number {
    return this.#compacted
  }

  /** Events of one revision, together. */
  add(events: readonly KeyEvent[]): void {
    for (const event of events) {
      this.#events.push(event)
      this.#bytes += eventBytes(event)
    }
    while (this.#events.length - this.#start > this.#maxEvents || this.#bytes > this.#maxBytes)
      this.#dropOldest()
    if (this.#start > 1024 && this.#start * 2 > this.#events.length) {
      this.#events = this.#events.slice(this.#start)
      this.#start = 0
    }
  }

  /** A whole revision, since half of one would be a state that never was. */
  #dropOldest(): void {
    this.#compacted = this.#events[this.#start]!.revision
    while (this.#events[this.#start]?.revision === this.#compacted) {
      this.#bytes -= eventBytes(this.#events[this.#start]!)
      this.#start += 1
    }
  }

  /**
   * Events from `fromRevision` on, whole revisions, at least one if there is any, about `limit` events.
   * @throws RevisionCompactedError when some of them are no longer kept.
   */
  since(fromRevision: number, prefix: string, limit: number, currentRevision: number): WatchPage {
    if (fromRevision <= this.#compacted) throw new RevisionCompactedError(fromRevision, this.#compacted)
    const found: KeyEvent[] = []
    let last = fromRevision - 1
    for (let at = this.#position(fromRevision); at < this.#events.length; at++) {
      const event = this.#events[at]!
      if (found.length >= limit && event.revision !== last) return { events: found, nextRevision: last + 1 }
      last = event.revision
      if (keyOf(event).startsWith(prefix)) found.push(event)
    }
    return { events: found, nextRevision: Math.max(fromRevision, currentRevision + 1) }
  }

  /** Position of the first event at or after `revision`. */
  #position(revision: number): number {
    let low = this.#start
    let high = this.#events.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#events[middle]!.revision < revision) low = middle + 1
      else high = middle
    }
    return low
  }
}
