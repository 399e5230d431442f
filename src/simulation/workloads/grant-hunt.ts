import { OwnWrites } from '../../crdt/own-writes.js'
import type { MeshNode } from '../../node/mesh-node.js'
import type { Server } from '../cluster/server.js'
import type { Run } from '../run/run.js'
import { withdrawals } from './withdrawals.js'
import type { Workload } from './workload.js'

/** Share of the grants after which the donor loses its power. */
const HUNTED_SHARE = 0.15
/** A power cut comes within so many times the disk's usual time for a sync: before the grant is on disk, or just after. */
const WITHIN_SYNCS = 2

/** The workload of withdrawals, and whoever has granted rights soon loses its power. */
export const grantHunt: Workload = {
  ...withdrawals,
  name: 'grant-hunt',
  begin(run) {
    withdrawals.begin(run)
    const random = run.cluster.kernel.random.fork('grant-hunt')
    const untilUs = run.nowUs + run.options.safetyMs * 1_000
    let grants = 0
    run.override(OwnWrites.prototype, 'grant', (original) => {
      return function (this: OwnWrites, entry, receiver, amount) {
        original.call(this, entry, receiver, amount)
        const draw = random.fork(grants++)
        const donor = run.cluster.servers[run.cluster.kernel.owner?.server ?? -1]
        if (donor === undefined || run.nowUs > untilUs || !draw.chance(HUNTED_SHARE)) return
        const syncMs = run.options.disk.syncUs / 1_000
        cutPower(run, donor, draw.uniform() * WITHIN_SYNCS * syncMs, draw.integer(200, 3_000))
      }
    })
  },
}

function cutPower(run: Run, donor: Server<MeshNode>, inMs: number, forMs: number): void {
  const { generation } = donor
  run.cluster.after(inMs, () => {
    if (donor.generation !== generation || donor.heldDown) return
    donor.losePower()
    run.cluster.after(forMs, () => donor.start())
  })
}
