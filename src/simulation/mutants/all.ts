import type { Mutant } from './mutant.js'

/** Every broken variant. A new one is a line in its family's file. */
export const MUTANTS: readonly Mutant[] = []
