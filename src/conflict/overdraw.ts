import { addQuantities, subtractQuantities } from '../crdt/column.js'
import type { ProvisionalWithdrawal } from '../crdt/provisional.js'
import type { Quantity } from '../crdt/rights.js'
import type { ReplicaId } from '../sync/identity.js'
import { type ConflictContext, type ConflictResolver, lowerIdResolver } from './resolver.js'
import type { Standing } from './standing.js'

/**
 * How much more was withdrawn than can be had: 0 unless the quantity, less the rights that nobody can give any
 * more, is negative and every negative rights(j) is explained by j's own undecided withdrawals. Otherwise the
 * deposit or grant behind j's spending is still on its way here, and nobody may be compensated for that
 * (invariant W4).
 */
export function visibleOverdraw(
  total: Quantity,
  rights: ReadonlyMap<ReplicaId, Quantity>,
  undecided: readonly ProvisionalWithdrawal[],
  standing: Pick<Standing, 'isSuperseded'>,
): Quantity {
  const left = attainable(total, rights, standing)
  if (left >= 0) return 0
  for (const [replica, held] of rights) {
    if (held >= 0) continue
    let explained: Quantity = 0
    for (const withdrawal of undecided) {
      if (withdrawal.replica === replica) explained = addQuantities(explained, withdrawal.amount)
    }
    if (addQuantities(held, explained) < 0) return 0
  }
  return -left
}

/** The quantity less the rights that nobody can give any more. */
export function attainable(
  total: Quantity,
  rights: ReadonlyMap<ReplicaId, Quantity>,
  standing: Pick<Standing, 'isSuperseded'>,
): Quantity {
  let left = total
  for (const [replica, held] of rights) {
    if (held > 0 && standing.isSuperseded(replica)) left = subtractQuantities(left, held)
  }
  return left
}

/**
 * Who must give back so that the overdraw is gone: the fewest from the end of the resolver's order. The same on
 * every server that sees the same withdrawals and asks the same resolver.
 */
export function chooseLosers(
  undecided: readonly ProvisionalWithdrawal[],
  resolver: ConflictResolver,
  context: ConflictContext,
): { losers: ProvisionalWithdrawal[]; strongest: ProvisionalWithdrawal | undefined } {
  const ordered = [...undecided].sort(byId)
  ordered.sort((left, right) => (winner(left, right, resolver, context) === left ? -1 : 1))
  const losers: ProvisionalWithdrawal[] = []
  let restored: Quantity = 0
  while (restored < context.overdraw && ordered.length > 0) {
    const loser = ordered.pop()!
    losers.push(loser)
    restored = addQuantities(restored, loser.amount)
  }
  return { losers, strongest: ordered[0] }
}

export function byId(left: ProvisionalWithdrawal, right: ProvisionalWithdrawal): number {
  return left.id < right.id ? -1 : left.id > right.id ? 1 : 0
}

function winner(
  left: ProvisionalWithdrawal,
  right: ProvisionalWithdrawal,
  resolver: ConflictResolver,
  context: ConflictContext,
): ProvisionalWithdrawal {
  try {
    const chosen = resolver.resolve(left, right, context)
    if (chosen === left || chosen === right) return chosen
  } catch {
    // A resolver that throws has no say; see ConflictResolver.
  }
  return lowerIdResolver.resolve(left, right, context)
}
