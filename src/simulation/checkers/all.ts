import { boundedQueues } from './bounded-queues.js'
import type { CreateChecker } from './checker.js'
import { compensationsTold } from './compensations-told.js'
import { conservation } from './conservation.js'
import { dotsUsedOnce } from './dots-used-once.js'
import { equalLogs } from './equal-logs.js'
import { equalVectors } from './equal-vectors.js'
import { eventsDelivered } from './events-delivered.js'
import { grantsAskedFor } from './grants-asked-for.js'
import { grantsKept } from './grants-kept.js'
import { ledgerTrue } from './ledger-true.js'
import { lockExclusion } from './lock-exclusion.js'
import { oneLeaderPerTerm } from './one-leader-per-term.js'
import { outcomes } from './outcomes.js'
import { persistedFirst } from './persisted-first.js'
import { registryWhole } from './registry-whole.js'
import { restoredMembers } from './restored-members.js'
import { settledWithdrawals } from './settled-withdrawals.js'
import { soundCompensations } from './sound-compensations.js'
import { soundMembers } from './sound-members.js'
import { strongEvents } from './strong-events.js'
import { strongLinearizable } from './strong-linearizable.js'
import { strongWritesKept } from './strong-writes-kept.js'
import { transferRates } from './transfer-rates.js'
import { transfersKept } from './transfers-kept.js'
import { vectorsAdvance } from './vectors-advance.js'

/** Every checker of every run. A new one is a file of its own and a line here. */
export const ALL_CHECKERS: readonly CreateChecker[] = [
  dotsUsedOnce,
  restoredMembers,
  persistedFirst,
  equalVectors,
  vectorsAdvance,
  boundedQueues,
  soundCompensations,
  grantsAskedFor,
  grantsKept,
  settledWithdrawals,
  compensationsTold,
  ledgerTrue,
  conservation,
  outcomes,
  eventsDelivered,
  soundMembers,
  oneLeaderPerTerm,
  equalLogs,
  strongWritesKept,
  strongLinearizable,
  lockExclusion,
  strongEvents,
  registryWhole,
  transfersKept,
  transferRates,
]
