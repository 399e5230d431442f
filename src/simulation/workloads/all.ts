import { counters, flood } from './counters.js'
import { events } from './events.js'
import { grantHunt } from './grant-hunt.js'
import { leaderHunt } from './leader-hunt.js'
import { lostDiskHunt } from './lost-disk-hunt.js'
import { membershipHunt } from './membership-hunt.js'
import { partialViewHunt } from './partial-view-hunt.js'
import { reads } from './reads.js'
import { strong } from './strong.js'
import { termHunt } from './term-hunt.js'
import { transfers } from './transfers.js'
import { withdrawals } from './withdrawals.js'
import type { Workload } from './workload.js'

/** Several at once: what most runs do. */
const mixed: Workload = {
  name: 'mixed',
  begin(run) {
    counters.begin(run)
    events.begin(run)
  },
}

export const WORKLOADS: ReadonlyMap<string, Workload> = new Map(
  [
    mixed,
    counters,
    flood,
    events,
    withdrawals,
    grantHunt,
    partialViewHunt,
    strong,
    leaderHunt,
    termHunt,
    membershipHunt,
    lostDiskHunt,
    transfers,
    reads,
  ].map((workload) => [workload.name, workload]),
)
