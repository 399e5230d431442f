import { durabilityMutants } from './durability.js'
import { ledgerMutants } from './ledger.js'
import type { Mutant } from './mutant.js'
import { replicationMutants } from './replication.js'
import { strongMutants } from './strong.js'
import { surfaceMutants } from './surface.js'
import { transferMutants } from './transfers.js'
import { withdrawalMutants } from './withdrawals.js'

/** Every broken variant. A new family is a file of its own and a line here. */
export const MUTANTS: readonly Mutant[] = [
  ...replicationMutants,
  ...durabilityMutants,
  ...surfaceMutants,
  ...strongMutants,
  ...withdrawalMutants,
  ...transferMutants,
  ...ledgerMutants,
]
