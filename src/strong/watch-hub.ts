import type { StateMachine } from '../raft/state-machine/state-machine.js'
import { RevisionCompactedError } from '../sync/errors.js'
import type { StrongChange } from './strong-store.js'

interface Watch {
  readonly prefix: string
  readonly listener: (change: StrongChange) => void
  /** First revision not looked at yet. */
  next: number
}

/** Events handed to one watcher in one go. */
const EVENTS_PER_CALL = 256

/** Tells watchers what has been applied. A watcher holds a revision, no queue. */
export class WatchHub {
  private readonly watches = new Set<Watch>()

  constructor(private readonly machine: () => StateMachine) {}

  watch(prefix: string, listener: (change: StrongChange) => void): () => void {
    const watch: Watch = { prefix, listener, next: this.machine().revision + 1 }
    this.watches.add(watch)
    return () => {
      this.watches.delete(watch)
    }
  }

  /** Entries have been applied. */
  progressed(): void {
    for (const watch of [...this.watches]) this.serve(watch)
  }

  /** Another state machine has taken the place of the former one. */
  restored(): void {
    const { revision } = this.machine()
    for (const watch of [...this.watches]) {
      watch.next = revision + 1
      watch.listener({ kind: 'reset', revision })
    }
  }

  private serve(watch: Watch): void {
    const machine = this.machine()
    while (this.watches.has(watch) && watch.next <= machine.revision) {
      try {
        const page = machine.eventsSince(watch.next, watch.prefix, EVENTS_PER_CALL)
        watch.next = page.nextRevision
        if (page.events.length > 0)
          watch.listener({ kind: 'events', events: page.events, revision: page.nextRevision - 1 })
      } catch (error) {
        if (!(error instanceof RevisionCompactedError)) throw error
        watch.next = machine.revision + 1
        watch.listener({ kind: 'reset', revision: machine.revision })
      }
    }
  }
}
