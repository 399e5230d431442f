import { type Result, refused } from './results.js'

export interface Session {
  readonly id: number
  /** Whose it is, for people. */
  readonly name: string
  /** Sequences below it are settled: the client waits for none of them. */
  readonly floor: number
  readonly results: ReadonlyMap<number, Result>
}

interface OpenSession extends Session {
  floor: number
  readonly results: Map<number, Result>
}

/**
 * The table that makes a retried command take effect once (Raft thesis 6.3): per client session the results
 * of the sequences that the client may still ask for. Bounded, and evicted by use in log order, so that every
 * member forgets the same session at the same entry. A forgotten session is refused, never taken for new.
 */
export class Sessions {
  readonly #maxSessions: number
  readonly #maxResults: number
  /** In order of last use, oldest first. */
  readonly #sessions = new Map<number, OpenSession>()

  constructor(maxSessions: number, maxResults: number) {
    this.#maxSessions = maxSessions
    this.#maxResults = maxResults
  }

  get size(): number {
    return this.#sessions.size
  }

  open(id: number, name: string): void {
    this.restore({ id, name, floor: 1, results: new Map() })
    if (this.#sessions.size > this.#maxSessions) {
      const [oldest] = this.#sessions.keys()
      this.#sessions.delete(oldest!)
    }
  }

  restore(session: Session): void {
    this.#sessions.set(session.id, { ...session, results: new Map(session.results) })
  }

  close(id: number): boolean {
    return this.#sessions.delete(id)
  }

  /** In order of last use, with copies of what changes. */
  all(): Session[] {
    return Array.from(this.#sessions.values(), (session) => ({
      ...session,
      results: new Map(session.results),
    }))
  }

  /**
   * Runs `execute` unless this sequence has run before, and returns its first result. `deduplicate` is false
   * only for the mutation that breaks this on purpose.
   */
  once(
    id: number,
    sequence: number,
    oldestPending: number,
    deduplicate: boolean,
    execute: () => Result,
  ): Result {
    const session = this.#sessions.get(id)
    if (session === undefined) return refused('session-unknown')
    this.#sessions.delete(id)
    this.#sessions.set(id, session)
    const known = session.results.get(sequence)
    if (deduplicate) {
      if (known !== undefined) return known
      if (sequence < session.floor) return refused('sequence-stale')
    }
    this.#raiseFloor(session, oldestPending)
    if (session.results.size >= this.#maxResults) return refused('session-full')
    const result = execute()
    session.results.set(sequence, result)
    return result
  }

  #raiseFloor(session: OpenSession, oldestPending: number): void {
    if (oldestPending <= session.floor) return
    session.floor = oldestPending
    for (const sequence of session.results.keys()) {
      if (sequence < oldestPending) session.results.delete(sequence)
    }
  }
}
