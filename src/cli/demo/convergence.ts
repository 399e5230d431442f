import type { AuditRow } from './audit-verdict.js'
import type { GameServer } from './game-server.js'
import type { ServerState, ShownQuantities, Structure } from './messages.js'
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

/**
 * Waits until nothing is provisional and until vectors and checksums of all servers are equal, then compares quantity
 * by quantity. Transfers may still move some items. So each server tells its quantities together with the state that
 * they are of, and those of one and the same state are compared, once.
 */
export async function awaitConvergence(stage: Stage): Promise<Convergence> {
  const { clock } = stage.environment
  const startedMs = clock.monotonicMs()
  const isSettled = await stage.becomes(CONVERGENCE_TIMEOUT_MS, async () => {
    const unsettled = await stage.all((server) => server.call('unsettled', undefined))
    return unsettled.every((items) => items === 0)
  })
  if (isSettled) await stage.all((server) => server.call('conclude', undefined))
  let finals: readonly Quantities[] = []
  const areEqual = await stage.becomes(CONVERGENCE_TIMEOUT_MS, async () => {
    const states = await stage.all((server) => server.call('state', undefined))
    if (!areSame(states)) return false
    const holdings = await readHoldings(stage)
    finals = holdings.map(({ quantities }) => quantities)
    return areSame(holdings.map(({ state }) => state)) && holdings.every(({ isWhole }) => isWhole)
  })
  const convergenceMs = Math.round(clock.monotonicMs() - startedMs)
  if (!areEqual) finals = (await readHoldings(stage)).map(({ quantities }) => quantities)
  // Followers learn within a heartbeat of the leader what is committed.
  const structures = await readUntilEqual(stage, (server) => server.call('structure', undefined))
  // An audit takes its time; one move meanwhile, and the totals of two servers differ. Each row balances always.
  const audits = await readUntilEqual(stage, (server) => server.call('audit', undefined))
  const converged =
    isSettled && areEqual && haveEqualQuantities(finals) && haveEqual(structures, JSON.stringify)
  return { converged, convergenceMs, finals, structures, audits }
}

/** Equal vectors and checksums, with nothing under way to any of them. */
function areSame(states: readonly ServerState[]): boolean {
  return (
    haveEqual(states, ({ fingerprint }) => fingerprint) &&
    states.every(({ settled, numberingHeld }) => settled && !numberingHeld)
  )
}

interface Holdings extends Omit<ShownQuantities, 'rows'> {
  readonly quantities: Quantities
}

function readHoldings(stage: Stage): Promise<Holdings[]> {
  return stage.all(async (server) => {
    const { state, isWhole, rows } = await server.call('quantities', undefined)
    const quantities = rows.map(
      ([storage, item, quantity]) => [itemKey(storage, item), BigInt(quantity)] as const,
    )
    return { state, isWhole, quantities: new Map(quantities) }
  })
}

/** What the servers say when they all say the same; otherwise what they said last. */
async function readUntilEqual<Value>(
  stage: Stage,
  read: (server: GameServer) => Promise<Value>,
): Promise<readonly Value[]> {
  let values: readonly Value[] = []
  await stage.becomes(CONVERGENCE_TIMEOUT_MS, async () => {
    values = await stage.all(read)
    return haveEqual(values, JSON.stringify)
  })
  return values
}

function haveEqual<Value>(values: readonly Value[], text: (value: Value) => string): boolean {
  return new Set(values.map((value) => text(value))).size === 1
}

function haveEqualQuantities([first, ...others]: readonly Quantities[]): boolean {
  return others.every(
    (other) =>
      other.size === first!.size && [...first!].every(([key, quantity]) => other.get(key) === quantity),
  )
}
