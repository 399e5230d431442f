import type { AuditRow } from './audit-verdict.js'
import type { Structure } from './messages.js'
import type { Stage } from './stage.js'
import { itemKey, type Quantities } from './verdict.js'

/** Everything is on its way at once when the players rest; what takes longer than this is stuck. */
export const CONVERGENCE_TIMEOUT_MS = 20_000

export interface Convergence {
  readonly converged: boolean
  /** From the end of the players' work to the first look that found all equal. */
  readonly convergenceMs: number
  /** In the order of the servers. */
  readonly finals: readonly Quantities[]
  readonly structures: readonly Structure[]
  readonly audits: readonly (readonly AuditRow[])[]
}

/** Waits until nothing is provisional and until vectors and checksums of all servers are equal, then compares quantity by quantity. */
export async function awaitConvergence(stage: Stage): Promise<Convergence> {
  const { clock } = stage.environment
  const startedMs = clock.monotonicMs()
  const isSettled = await stage.becomes(CONVERGENCE_TIMEOUT_MS, async () => {
    const unsettled = await stage.all((server) => server.call('unsettled', undefined))
    return unsettled.every((items) => items === 0)
  })
  if (isSettled) await stage.all((server) => server.call('conclude', undefined))
  const areEqual = await stage.becomes(CONVERGENCE_TIMEOUT_MS, async () => {
    const states = await stage.all((server) => server.call('state', undefined))
    return states.every(
      ({ fingerprint, settled, numberingHeld }) =>
        fingerprint === states[0]!.fingerprint && settled && !numberingHeld,
    )
  })
  const convergenceMs = Math.round(clock.monotonicMs() - startedMs)
  const finals = await stage.all(async (server) => {
    const rows = await server.call('quantities', undefined)
    return new Map(rows.map(([storage, item, quantity]) => [itemKey(storage, item), BigInt(quantity)]))
  })
  const structures = await awaitStructure(stage)
  const audits = await stage.all((server) => server.call('audit', undefined))
  const converged = isSettled && areEqual && haveEqualQuantities(finals) && haveEqualStructure(structures)
  return { converged, convergenceMs, finals, structures, audits }
}

function haveEqualQuantities([first, ...others]: readonly Quantities[]): boolean {
  return others.every(
    (other) =>
      other.size === first!.size && [...first!].every(([key, quantity]) => other.get(key) === quantity),
  )
}

/** Followers learn within a heartbeat of the leader what is committed. */
async function awaitStructure(stage: Stage): Promise<readonly Structure[]> {
  let structures: readonly Structure[] = []
  await stage.becomes(CONVERGENCE_TIMEOUT_MS, async () => {
    structures = await stage.all((server) => server.call('structure', undefined))
    return haveEqualStructure(structures)
  })
  return structures
}

function haveEqualStructure(structures: readonly Structure[]): boolean {
  const texts = structures.map(({ anchors, transfers }) => JSON.stringify([anchors, transfers]))
  return texts.every((text) => text === texts[0])
}
