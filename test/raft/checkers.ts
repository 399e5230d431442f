import type { Entry } from '../../src/raft/types.js'

/** A safety property of the Raft paper (figure 3), or linearizability, does not hold. */
export class SafetyViolation extends Error {
  constructor(
    readonly property: string,
    detail: string,
  ) {
    super(`${property}: ${detail}`)
  }
}

function describe(entry: Entry): string {
  if (entry.kind === 'command') return `${entry.term}:${Array.from(entry.data).join(',')}`
  return `${entry.term}:${JSON.stringify(entry)}`
}

/** Sees everything that every member does and knows what may never happen. */
export class SafetyChecker {
  readonly #leaders = new Map<number, string>()
  readonly #entries = new Map<string, { readonly text: string; readonly previousTerm: number }>()
  readonly #applied = new Map<number, { readonly text: string; readonly term: number }>()
  /** Highest index that some member has applied: some client may have seen its effect. */
  highestApplied = 0

  /** Election safety: at most one leader in a term. */
  becameLeader(node: string, term: number): void {
    const other = this.#leaders.get(term)
    if (other !== undefined && other !== node) {
      throw new SafetyViolation('election safety', `${other} and ${node} both lead term ${term}`)
    }
    this.#leaders.set(term, node)
  }

  /** Leader completeness: a new leader holds every entry committed in an earlier term. */
  leaderHolds(node: string, term: number, termAt: (index: number) => number | undefined): void {
    for (const [index, applied] of this.#applied) {
      if (applied.term >= term) continue
      const held = termAt(index)
      if (held !== undefined && held !== applied.term) {
        throw new SafetyViolation('leader completeness', `${node} leads ${term} with a wrong entry ${index}`)
      }
      if (held === undefined) {
        throw new SafetyViolation('leader completeness', `${node} leads ${term} without entry ${index}`)
      }
    }
  }

  /** Log matching: equal index and term mean an equal entry and an equal predecessor. */
  appended(node: string, entry: Entry, previousTerm: number): void {
    const key = `${entry.index}@${entry.term}`
    const known = this.#entries.get(key)
    const text = describe(entry)
    if (known === undefined) this.#entries.set(key, { text, previousTerm })
    else if (known.text !== text || known.previousTerm !== previousTerm) {
      throw new SafetyViolation('log matching', `${node} holds another entry ${key}`)
    }
  }

  /** State machine safety: nobody applies another entry at the same index. */
  applied(node: string, entry: Entry): void {
    const known = this.#applied.get(entry.index)
    const text = describe(entry)
    if (known === undefined) this.#applied.set(entry.index, { text, term: entry.term })
    else if (known.text !== text) {
      throw new SafetyViolation('state machine safety', `${node} applies another entry ${entry.index}`)
    }
    this.highestApplied = Math.max(this.highestApplied, entry.index)
  }

  /** Linearizable reads: a read sees everything that anybody could have seen before it began. */
  readConfirmed(node: string, index: number, highestAppliedAtStart: number): void {
    if (index < highestAppliedAtStart) {
      throw new SafetyViolation(
        'linearizable reads',
        `${node} reads at ${index}, older than ${highestAppliedAtStart}`,
      )
    }
  }
}
