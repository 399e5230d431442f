import type { Run } from '../run/run.js'

/**
 * Watches over one promise of the product. Looks at nodes as their users can, keeps its own account, and
 * calls `run.fail` with the number of the invariant when the promise is broken.
 */
export interface Checker {
  /** Numbers of the invariants (docs/architecture.md) that it may report. */
  readonly invariants: readonly string[]
  /** Called every `OBSERVE_EVERY_MS` of virtual time while anything may fail, and after healing. */
  observe?(): void
  /** Called once when everything is healed and has converged. */
  atEnd?(): void
}

export type CreateChecker = (run: Run) => Checker

/** Virtual time between two observations. */
export const OBSERVE_EVERY_MS = 250
