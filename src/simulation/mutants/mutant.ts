import type { FaultRates } from '../faults/draw-faults.js'
import type { Run } from '../run/run.js'

/**
 * The product with one thing broken on purpose, to show that a checker bites. It changes classes only through
 * `Run.override` (../override.ts says why that cannot leak), for the length of one run.
 */
export interface Mutant {
  readonly name: string
  /** The invariant that must be reported. */
  readonly invariant: string
  /** Others that show the same defect: which one is broken first depends on who looks first. */
  readonly alsoInvariants?: readonly string[]
  /** Within so many seeds it must be caught. */
  readonly withinSeeds: number
  /** Workload to catch it with; 'mixed' when left out. */
  readonly workload?: string
  /** Weather in which it shows sooner than in what the workload draws: faults in place of the drawn ones. */
  readonly weather?: Partial<FaultRates>
  /** Breaks the product until the run is over: through `run.override`, or `run.atCleanUp` undoes it. */
  apply(run: Run): void
}
