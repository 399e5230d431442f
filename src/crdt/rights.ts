import type { ReplicaId } from '../sync/identity.js'
import type { CounterValue } from './cell.js'
import { addQuantities, subtractQuantities } from './column.js'

/**
 * Rights to withdraw (bounded counter, Balegas et al. 2015). For replica i with its cell's monotone totals,
 *
 *     rights(i) = D(i) − (W(i) − C(i)) − Σj T[i][j] + Σj T[j][i]        Σ rights = quantity
 *
 * Grants are totals too, so a grant that is repeated or arrives out of order counts once. T[i][i], which no
 * server writes, mints nothing: it is left out on both sides.
 */
export type Quantity = number | bigint

export interface ReplicaCounter {
  readonly replica: ReplicaId
  readonly value: CounterValue
}

/** What an own change adds to a counter. */
export interface CounterIncrement {
  readonly deposited: Quantity
  readonly withdrawn: Quantity
  readonly compensated: Quantity
  readonly granted: ReadonlyMap<ReplicaId, Quantity> | undefined
}

/** Rights of every replica that has a cell or was granted something. */
export function rightsByReplica(cells: Iterable<ReplicaCounter>): Map<ReplicaId, Quantity> {
  const rights = new Map<ReplicaId, Quantity>()
  const add = (replica: ReplicaId, amount: Quantity) =>
    rights.set(replica, addQuantities(rights.get(replica) ?? 0, amount))
  for (const { replica, value } of cells) {
    add(replica, counterContribution(value))
    for (const [receiver, amount] of value.granted) {
      if (receiver === replica) continue
      add(replica, -amount)
      add(receiver, amount)
    }
  }
  return rights
}

/** What a replica's cell adds to the quantity: D − (W − C). Grants move rights, not items. */
export function counterContribution(value: CounterValue): Quantity {
  const standing = subtractQuantities(value.withdrawn, value.compensated)
  return subtractQuantities(value.deposited, standing)
}

export function notNegative(amount: Quantity): Quantity {
  if (amount < 0) return 0
  return amount
}

export function lesser(left: Quantity, right: Quantity): Quantity {
  // Math.min takes no bigints.
  if (left > right) return right
  return left
}

/** The total granted to one replica. */
export function grantedTo(granted: CounterValue['granted'], receiver: ReplicaId): Quantity {
  for (const [replica, amount] of granted) if (replica === receiver) return amount
  return 0
}

/** The totals with increments added, in the order of replica ids that the wire asks for. */
export function addGrants(
  granted: CounterValue['granted'],
  increments: ReadonlyMap<ReplicaId, Quantity>,
): CounterValue['granted'] {
  const totals = new Map(granted)
  for (const [replica, amount] of increments) {
    totals.set(replica, addQuantities(totals.get(replica) ?? 0, amount))
  }
  return [...totals].sort(([left], [right]) => (left < right ? -1 : 1))
}
