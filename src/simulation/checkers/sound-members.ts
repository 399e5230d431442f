import { StrongGroup } from '../../strong/strong-group.js'
import { InvariantViolation } from '../../sync/errors.js'
import { type Run, textOf } from '../run/run.js'
import type { Checker } from './checker.js'

/** No member of the strong group finds one of its own invariants broken (RAFT-1 to RAFT-8), or fails for less. */
export function soundMembers(run: Run): Checker {
  run.override(StrongGroup.prototype, 'failed', (original) => {
    return function (this: StrongGroup, error) {
      original.call(this, error)
      if (error instanceof InvariantViolation) run.fail(error.invariant, textOf(error), undefined)
      else if (!isDiskTrouble(error)) run.fail('N1', textOf(error), undefined)
    }
  })
  return {
    invariants: ['N1', 'RAFT-1', 'RAFT-2', 'RAFT-3', 'RAFT-4', 'RAFT-5', 'RAFT-6', 'RAFT-7', 'RAFT-8'],
  }
}

function isDiskTrouble(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code
  return code === 'DISK_FULL' || code === 'DISK_FAILED' || code === 'JOURNAL_FAILED'
}
