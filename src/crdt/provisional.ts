import type { ReplicaId } from '../sync/identity.js'
import { bigintToWire, expectBigint, expectString, expectTuple, expectUint } from '../wire/expect.js'
import type { ObjectValue } from './cell.js'
import { narrowQuantity } from './column.js'
import { MAX_KEY_LENGTH } from './limits.js'
import type { Quantity } from './rights.js'

/**
 * open: its debt is not covered yet. parked: it lost a conflict that a person is to decide. confirmed: covered.
 * compensated: taken back, the application is still to acknowledge it. acknowledged: it has. kept: it lost, a
 * person let it stand, and what was missing has been written off.
 */
const STATES = ['open', 'parked', 'confirmed', 'compensated', 'acknowledged', 'kept'] as const
export type ProvisionalState = (typeof STATES)[number]

/** A withdrawal beyond its server's rights. Only the replica that made it ever writes its cell. */
export interface ProvisionalWithdrawal {
  /** UUIDv7, so ids order by time. */
  readonly id: string
  readonly replica: ReplicaId
  readonly storage: string
  readonly item: string
  readonly amount: Quantity
  readonly madeAtMs: number
  readonly state: ProvisionalState
}

/**
 * How long a cell lives after it was last written. Cells that are not done with are written again at half
 * of it, so that every server, however long cut off, can drop its copy at the same moment.
 */
export const PROVISIONAL_KEPT_MS = 30 * 24 * 60 * 60 * 1000

/** Whether it still explains a debt: nothing final has been decided. */
export function isUndecided(state: ProvisionalState): boolean {
  return state === 'open' || state === 'parked'
}

/** Whether its own server has something left to do with it. */
export function isUnfinished(state: ProvisionalState): boolean {
  return isUndecided(state) || state === 'compensated'
}

/** [expiresAtMs, state, item, amount, madeAtMs]; storage and id are the cell's namespace and key. */
export function provisionalToValue(withdrawal: ProvisionalWithdrawal, expiresAtMs: number): ObjectValue {
  const { state, item, amount, madeAtMs } = withdrawal
  return [expiresAtMs, STATES.indexOf(state), item, bigintToWire(BigInt(amount)), madeAtMs]
}

/** @throws FrameError when another version or a defect wrote something else. */
export function provisionalFromValue(
  value: ObjectValue,
  place: Pick<ProvisionalWithdrawal, 'id' | 'replica' | 'storage'>,
): ProvisionalWithdrawal {
  const fields = expectTuple(value, 5, 'provisional')
  return {
    ...place,
    state: STATES[expectUint(fields[1], 'provisional.state', STATES.length - 1)]!,
    item: expectString(fields[2], MAX_KEY_LENGTH, 'provisional.item'),
    amount: narrowQuantity(expectBigint(fields[3], 'provisional.amount')),
    madeAtMs: expectUint(fields[4], 'provisional.madeAt'),
  }
}
