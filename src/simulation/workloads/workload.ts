import type { Run } from '../run/run.js'

/** What the simulated game servers do with their nodes. A new one is a file of its own and a line in all.ts. */
export interface Workload {
  readonly name: string
  /** Schedules what happens during the safety phase, which lasts `run.options.safetyMs` from now. */
  begin(run: Run): void
  /** Schedules what is asked of the healed and converged mesh; all of it must be answered. */
  finish?(run: Run): void
  /**
   * Given when its nodes write for ever, also while nobody asks them to, so that no two need ever be equal at one
   * moment. Called after `finish`: from when all of it is answered no quantity and no rights change any more.
   */
  rest?(run: Run): void
  /** Virtual time for `finish`, and for `rest`; left out: `FINISH_MS`. */
  readonly finishMs?: number
}
