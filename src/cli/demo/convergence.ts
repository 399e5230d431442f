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
}

/** Waits until vectors and checksums of all servers are equal, then compares quantity by quantity. */
export async function awaitConvergence(stage: Stage): Promise<Convergence> {
  const { clock } = stage.environment
  const startedMs = clock.monotonicMs()
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
  return { converged: areEqual && haveEqualQuantities(finals), convergenceMs, finals }
}

function haveEqualQuantities([first, ...others]: readonly Quantities[]): boolean {
  return others.every(
    (other) =>
      other.size === first!.size && [...first!].every(([key, quantity]) => other.get(key) === quantity),
  )
}
