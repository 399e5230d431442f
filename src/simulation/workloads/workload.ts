import type { Run } from '../run/run.js'

/** What the simulated game servers do with their nodes. A new one is a file of its own and a line in all.ts. */
export interface Workload {
  readonly name: string
  /** Schedules what happens during the safety phase, which lasts `run.options.safetyMs` from now. */
  begin(run: Run): void
  /** Schedules what is asked of the healed and converged mesh; all of it must be answered. */
  finish?(run: Run): void
  /** Its nodes write for ever, also while nobody asks them to: no two need ever be equal at one moment. */
  readonly isRestless?: boolean
  /** Virtual time for `finish`; left out: 20 s. */
  readonly finishMs?: number
}
