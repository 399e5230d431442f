import type { Run } from '../run/run.js'
import type { Checker } from './checker.js'
import { checkRegister, type HistoryEntry } from './linearizability.js'

/** Strong operations on each key are linearizable (RAFT-14). A history too wide to decide counts as nothing. */
export function strongLinearizable(run: Run): Checker {
  return {
    invariants: ['RAFT-14'],
    atEnd() {
      for (const key of run.strong.keys) {
        const history = run.strong.of(key)
        if (checkRegister(history) !== 'violated') continue
        run.fail('RAFT-14', `no order explains ${key}: ${tell(shortest(history))}`, undefined)
        return
      }
    },
  }
}

/** The shortest beginning, by calls, that is not linearizable itself: what comes after it is of no interest. */
function shortest(history: readonly HistoryEntry[]): readonly HistoryEntry[] {
  const returns = history.flatMap(({ returnedUs }) => returnedUs ?? []).sort((left, right) => left - right)
  for (const untilUs of returns) {
    const prefix = history
      .filter(({ calledUs }) => calledUs <= untilUs)
      .map((entry) =>
        entry.returnedUs !== undefined && entry.returnedUs > untilUs ? withoutOutcome(entry) : entry,
      )
    if (checkRegister(prefix) === 'violated') return prefix
  }
  return history
}

function withoutOutcome(entry: HistoryEntry): HistoryEntry {
  const { operation } = entry
  const open = operation.kind === 'compare-and-set' ? { ...operation, succeeded: undefined } : operation
  return { ...entry, operation: open, returnedUs: undefined }
}

function tell(history: readonly HistoryEntry[]): string {
  return history
    .slice(-12)
    .map(({ operation, calledUs, returnedUs, server }) => {
      const span = `${Math.round(calledUs / 1000)}..${returnedUs === undefined ? '?' : Math.round(returnedUs / 1000)} ms`
      const { kind, value } = operation
      const compared =
        kind === 'compare-and-set' ? ` if ${operation.expected} (${operation.succeeded ?? 'unknown'})` : ''
      return `s${server} ${kind} ${value}${compared} ${span}`
    })
    .join('; ')
}
