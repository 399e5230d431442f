import { FrameError } from '../sync/errors.js'
import { isReplicaId, type ReplicaId, serverOfReplica } from '../sync/identity.js'
import { bigintToWire, expectBigint, expectString, expectTuple, expectUint } from '../wire/expect.js'
import type { WireValue } from '../wire/wire-value.js'
import type { ObjectValue } from './cell.js'
import { narrowQuantity } from './column.js'
import { MAX_KEY_LENGTH, MAX_REPLICA_LENGTH } from './limits.js'
import type { Partition } from './partition.js'
import type { Quantity } from './rights.js'

/**
 * open: its debt is not covered yet. parked: it lost a conflict that a person is to decide. confirmed: covered.
 * compensated: taken back, the application is still to acknowledge it. acknowledged: it has. kept: it lost, a
 * person let it stand, and what was missing has been written off.
 */
const STATES = ['open', 'parked', 'confirmed', 'compensated', 'acknowledged', 'kept'] as const
export type ProvisionalState = (typeof STATES)[number]
/** 'kept': it lost, and a person let it stand. */
export type ProvisionalOutcome = 'confirmed' | 'compensated' | 'kept'

/**
 * A withdrawal beyond its server's rights. Its cell is written by the replica that made it, and by later
 * incarnations of the same server for what that one left open.
 */
export interface ProvisionalWithdrawal {
  /** UUIDv7, so ids order by time. */
  readonly id: string
  /** Who made it: its debt is part of this replica's rights. */
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
  return outcomeOf(state) === undefined
}

/** How it ended; undefined while that is open. That the application knows of a compensation does not change it. */
export function outcomeOf(state: ProvisionalState): ProvisionalOutcome | undefined {
  if (state === 'open' || state === 'parked') return undefined
  return state === 'acknowledged' ? 'compensated' : state
}

/** Whether its own server has something left to do with it. */
export function isUnfinished(state: ProvisionalState): boolean {
  return isUndecided(state) || state === 'compensated'
}

/**
 * [expiresAtMs, state, item, amount, madeAtMs] and, when `writer` did not make it itself, who did; storage and id
 * are the cell's namespace and key.
 */
export function provisionalToValue(
  withdrawal: ProvisionalWithdrawal,
  expiresAtMs: number,
  writer: ReplicaId,
): ObjectValue {
  const { state, item, amount, madeAtMs, replica } = withdrawal
  const value = [expiresAtMs, STATES.indexOf(state), item, bigintToWire(BigInt(amount)), madeAtMs] as const
  return replica === writer ? value : [...value, replica]
}

/**
 * `place.replica` is the writer of the cell.
 * @throws FrameError when another version or a defect wrote something else.
 */
export function provisionalFromValue(
  value: ObjectValue,
  place: Pick<ProvisionalWithdrawal, 'id' | 'replica' | 'storage'>,
): ProvisionalWithdrawal {
  const fields = expectTuple(value, 5, 'provisional')
  return {
    ...place,
    replica: fields.length > 5 ? makerOf(fields[5], place.replica) : place.replica,
    state: STATES[expectUint(fields[1], 'provisional.state', STATES.length - 1)]!,
    item: expectString(fields[2], MAX_KEY_LENGTH, 'provisional.item'),
    amount: narrowQuantity(expectBigint(fields[3], 'provisional.amount')),
    madeAtMs: expectUint(fields[4], 'provisional.madeAt'),
  }
}

/** A server may speak for its own former incarnations only. */
function makerOf(value: WireValue | undefined, writer: ReplicaId): ReplicaId {
  const maker = expectString(value, MAX_REPLICA_LENGTH, 'provisional.made_by')
  if (!isReplicaId(maker) || serverOfReplica(maker) !== serverOfReplica(writer))
    throw new FrameError(`provisional.made_by: ${maker} is not of the server of ${writer}`)
  return maker
}

/** How final a state is: of several cells for one withdrawal the most final one counts. */
const FINALITY: Readonly<Record<ProvisionalState, number>> = {
  open: 0,
  parked: 1,
  confirmed: 2,
  kept: 3,
  // Whoever closed it otherwise did not know of the compensation, which is in the counters.
  compensated: 4,
  acknowledged: 5,
}

/** The withdrawal under an entry as all its cells and the own write under way say; undefined when there is none. */
export function readProvisional(
  partition: Partition,
  entry: number,
): { withdrawal: ProvisionalWithdrawal; expiresAtMs: number } | undefined {
  const { table, own } = partition
  const place = { id: table.keyOf(entry), storage: table.namespaceOf(entry).name }
  let found: ProvisionalWithdrawal | undefined
  let expiresAtMs = 0
  const take = (value: ObjectValue, replica: ReplicaId) => {
    const read = provisionalFromValue(value, { ...place, replica })
    expiresAtMs = Math.max(expiresAtMs, value[0])
    if (found && serverOfReplica(found.replica) !== serverOfReplica(replica)) return
    if (!found || FINALITY[read.state] > FINALITY[found.state]) found = read
  }
  for (const cell of table.cellsOf(entry))
    take(table.objectValue(cell), partition.replicaAt(table.replicaOf(cell)))
  const pending = own.pendingObject(entry)
  if (pending) take(pending, partition.ownReplica.replica)
  return found && { withdrawal: found, expiresAtMs }
}
