import type { ProvisionalWithdrawal } from '../crdt/provisional.js'
import type { Quantity } from '../crdt/rights.js'
import { serverOfReplica } from '../sync/identity.js'

export interface ConflictContext {
  readonly storage: string
  readonly item: string
  /** By how much more was withdrawn than there was. */
  readonly overdraw: Quantity
}

/**
 * Decides which of two withdrawals stands when there is not enough for both. Every server asks its own
 * resolver; one that throws, answers with something else or differently elsewhere is overruled in time by
 * the order of ids, so it can delay a settlement but not prevent one.
 */
export interface ConflictResolver {
  /** Returns the one of the two that is to stand. */
  resolve(
    local: ProvisionalWithdrawal,
    remote: ProvisionalWithdrawal,
    context: ConflictContext,
  ): ProvisionalWithdrawal
  /**
   * Whether `local`, which has lost, is to wait for a person. `remote` is what it lost to, absent when those
   * were backed withdrawals.
   */
  requiresManualResolution(local: ProvisionalWithdrawal, remote: ProvisionalWithdrawal | undefined): boolean
}

/** The default: ids are UUIDv7, so the lower one is the earlier one, and all servers agree. */
export const lowerIdResolver: ConflictResolver = {
  resolve: (local, remote) => (local.id < remote.id ? local : remote),
  requiresManualResolution: () => false,
}

/** The one made earlier by its server's wall clock; ids decide a tie. */
export const earlierTimeResolver: ConflictResolver = {
  resolve: (local, remote, context) => {
    if (local.madeAtMs === remote.madeAtMs) return lowerIdResolver.resolve(local, remote, context)
    return local.madeAtMs < remote.madeAtMs ? local : remote
  },
  requiresManualResolution: () => false,
}

/** Servers named first win over those named later, and those over all not named; ids decide a tie. */
export function serverPriorityResolver(serverIds: readonly string[]): ConflictResolver {
  const rank = ({ replica }: ProvisionalWithdrawal) => {
    const place = serverIds.indexOf(serverOfReplica(replica))
    return place < 0 ? serverIds.length : place
  }
  return {
    resolve: (local, remote, context) => {
      const difference = rank(local) - rank(remote)
      if (difference === 0) return lowerIdResolver.resolve(local, remote, context)
      return difference < 0 ? local : remote
    },
    requiresManualResolution: () => false,
  }
}

/** Losers by another resolver's order, but none is compensated before a person has said so. */
export function manualResolver(order: ConflictResolver = lowerIdResolver): ConflictResolver {
  return { resolve: order.resolve.bind(order), requiresManualResolution: () => true }
}

/** Whether a loser waits for a person; a resolver that throws, or says neither yes nor no, says no. */
export function requiresPerson(
  resolver: ConflictResolver,
  loser: ProvisionalWithdrawal,
  rival: ProvisionalWithdrawal | undefined,
): boolean {
  try {
    return resolver.requiresManualResolution(loser, rival) === true
  } catch {
    return false
  }
}
