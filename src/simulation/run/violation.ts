/** A broken promise. `invariant` is its number in docs/architecture.md. */
export interface Violation {
  readonly invariant: string
  readonly detail: string
  /** Where it showed, when it showed at one server. */
  readonly server: number | undefined
  readonly atUs: number
}
