import type { ListedCell } from './cell-scan.js'
import type { OwnVerdict, Place } from './survey.js'

/**
 * - 'equal': whatever both servers hold, they have it alike.
 * - 'differs': somewhere they know the same writes and have unequal state. A defect.
 * - 'undecided': it was not settled in time: it did not answer, or they never knew the same of some replica.
 * - 'unreachable': there is no link to it.
 */
export type ComparisonOutcome = 'equal' | 'differs' | 'undecided' | 'unreachable'

/** A replica of which two servers know the same writes and have unequal cells. */
export interface Difference extends Place {
  /** Some of the cells, as one of the two has them; empty when they moved too fast to tell. */
  readonly cells: readonly ListedCell[]
}

export interface ServerFindings {
  readonly server: string
  readonly outcome: ComparisonOutcome
  readonly differences: readonly Difference[]
  /** What could not be compared. */
  readonly undecided: readonly Place[]
  /** Undefined when it did not tell. */
  readonly verdict: OwnVerdict | undefined
}

/** 'mismatch': something is wrong for certain. 'incomplete': nothing is, of what could be compared. */
export type AuditOutcome = 'balanced' | 'mismatch' | 'incomplete'

/** What follows from this server's own books and from what was found about all others. */
export function concludeAudit(own: OwnVerdict | undefined, others: readonly ServerFindings[]): AuditOutcome {
  const verdicts = [own, ...others.map(({ verdict }) => verdict)]
  const isWrong = verdicts.some(
    (verdict) => verdict && (verdict.wrongCount > 0 || verdict.altered.length > 0),
  )
  if (isWrong || others.some(({ outcome }) => outcome === 'differs')) return 'mismatch'
  const isComplete =
    verdicts.every((verdict) => verdict) && others.every(({ outcome }) => outcome === 'equal')
  if (!isComplete) return 'incomplete'
  // All have seen the same: no news is missing that could explain an overdraw.
  return verdicts.some((verdict) => verdict!.overdrawnCount > 0) ? 'mismatch' : 'balanced'
}
