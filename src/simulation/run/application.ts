import type { MeshNode } from '../../node/mesh-node.js'
import type { WithdrawalCase } from '../../node/withdrawal.js'
import type { Server } from '../cluster/server.js'
import { type Run, textOf } from './run.js'

/** Time until a game server has taken the items back from its player. */
const TAKE_BACK_MS = { least: 10, most: 4_000 } as const
/** Some players cannot be found: their compensations stay unacknowledged, and are told at every start. */
const UNFOUND_SHARE = 0.6
/** Between two looks of the operator at parked conflicts. */
const OPERATOR_MS = 1_500

/**
 * What a game server does beside its operations: it hears how its withdrawals end, takes compensated items back
 * and says so; and the operator, who decides what is parked.
 */
export function attachApplication(run: Run, server: Server<MeshNode>, node: MeshNode): void {
  const { generation } = server
  const told = new Set<string>()
  run.withdrawals.told.set(`${server.number} ${generation}`, told)
  node.on('settled', (withdrawal) => heardSettled(run, server, withdrawal))
  node.on('compensated', (withdrawal) => {
    told.add(withdrawal.id)
    heardCompensated(run, server, withdrawal)
  })
  const decide = () => {
    run.cluster.after(OPERATOR_MS, () => {
      if (server.generation !== generation || run.over) return
      run.cluster.within(server, (running) => decideParked(run, server, running))
      decide()
    })
  }
  if (run.options.resolvers[server.number] === 'manual') decide()
}

/** An outcome is final (W10), but for what a lost disk takes along. */
function heardSettled(run: Run, server: Server<MeshNode>, { id, state }: WithdrawalCase): void {
  const before = run.withdrawals.settled.get(id)
  run.withdrawals.settled.set(id, { state, server: server.number, atUs: run.nowUs })
  if (before === undefined || before.state === state) return
  if (run.ledger.hasLostSince(before.server, before.atUs)) return
  run.fail('W10', `withdrawal ${id} was told to be ${before.state}, and now ${state}`, server.number)
}

function heardCompensated(run: Run, server: Server<MeshNode>, { id, serverId }: WithdrawalCase): void {
  if (serverId !== server.name)
    run.fail('W5', `${server.name} tells of the compensation of ${id} by ${serverId}`, server.number)
  const { acknowledged } = run.withdrawals
  const before = acknowledged.get(id)
  if (before?.durableUs !== undefined && !run.ledger.hasLostSince(server.number, before.durableUs)) {
    run.fail('W11', `${server.name} tells of ${id} again, which was acknowledged`, server.number)
  }
  const draw = run.cluster.kernel.random.fork(`take-back-${id}`)
  if (before !== undefined || draw.chance(UNFOUND_SHARE)) return
  run.cluster.after(draw.integer(TAKE_BACK_MS.least, TAKE_BACK_MS.most), () => {
    run.cluster.within(server, (node) => acknowledge(run, server, node, id))
  })
}

function acknowledge(run: Run, server: Server<MeshNode>, node: MeshNode, id: string): void {
  try {
    if (!node.acknowledgeCompensation(id)) return
  } catch {
    // The disk is full, or the node stops: it is told again.
    return
  }
  const entry = { server: server.number, durableUs: undefined as number | undefined }
  run.withdrawals.acknowledged.set(id, entry)
  node.flush().then(
    () => {
      entry.durableUs = run.nowUs
    },
    () => undefined,
  )
}

function decideParked(run: Run, server: Server<MeshNode>, node: MeshNode): void {
  for (const { id } of node.conflicts()) {
    try {
      node.resolveConflict(
        id,
        run.cluster.kernel.random.fork(`decide-${id}`).chance(0.3) ? 'keep' : 'compensate',
      )
    } catch (error) {
      const code = (error as { code?: unknown }).code
      if (
        code === 'NOT_RUNNING' ||
        code === 'DISK_FULL' ||
        code === 'JOURNAL_FAILED' ||
        code === 'OVERLOADED'
      )
        continue
      run.fail('O2', `decision about ${id} refused: ${textOf(error)}`, server.number)
    }
  }
}
