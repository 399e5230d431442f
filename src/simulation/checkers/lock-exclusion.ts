import type { Run } from '../run/run.js'
import type { LockStep } from '../strong/history.js'
import type { Checker } from './checker.js'

/** So often a holder may act before it is told that another one holds the lock: once, when it wakes from a freeze. */
const MAX_STEPS_UNAWARE = 1

/**
 * Two servers never hold one lock (RAFT-15): a later holder has a higher fencing token, so a resource that refuses
 * lower ones sees no two holders interleave; and a holder that runs is told before another one gets the lock.
 */
export function lockExclusion(run: Run): Checker {
  return {
    invariants: ['RAFT-15'],
    atEnd() {
      const byKey = new Map<string, LockStep[]>()
      for (const step of run.strong.lockSteps) {
        const steps = byKey.get(step.key) ?? []
        byKey.set(step.key, steps)
        steps.push(step)
      }
      for (const [key, steps] of byKey) {
        const problem = tokenProblem(steps) ?? overlap(steps)
        if (problem !== undefined) run.fail('RAFT-15', `lock ${key}: ${problem}`, undefined)
      }
    },
  }
}

/** What a resource that remembers the highest token would see go wrong. */
function tokenProblem(steps: readonly LockStep[]): string | undefined {
  const granted = steps.filter(({ kind }) => kind === 'granted')
  for (const later of granted) {
    for (const earlier of granted) {
      if (earlier === later) continue
      if (earlier.token === later.token) {
        return `holders ${earlier.holder} and ${later.holder} have the same token ${later.token}`
      }
      if (earlier.atUs < later.requestedUs && earlier.token > later.token) {
        return `holder ${later.holder} has token ${later.token}, below ${earlier.token} of an earlier one`
      }
    }
  }
  return undefined
}

/** A holder that goes on, untold, while another one has the lock. */
function overlap(steps: readonly LockStep[]): string | undefined {
  const holding = new Map<number, number>()
  for (const { kind, holder, aborted, server, atUs } of steps) {
    if (kind === 'granted') {
      for (const other of holding.keys()) holding.set(other, Math.max(1, holding.get(other)!))
      holding.set(holder, 0)
    } else if (kind === 'ended' || aborted) holding.delete(holder)
    else if (holding.get(holder)! > MAX_STEPS_UNAWARE) {
      return `s${server} goes on as holder ${holder} at ${atUs / 1000} ms, and another one has the lock`
    } else if (holding.get(holder)! > 0) holding.set(holder, holding.get(holder)! + 1)
  }
  return undefined
}
