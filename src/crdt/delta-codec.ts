import { FrameError } from '../sync/errors.js'
import {
  bigintToWire,
  expectArray,
  expectBigint,
  expectBoolean,
  expectNumber,
  expectString,
  expectTuple,
  expectUint,
} from '../wire/expect.js'
import { MessageType } from '../wire/message-type.js'
import type { WireTuple, WireValue } from '../wire/wire-value.js'
import {
  type Cell,
  CellKind,
  type CounterCell,
  type Delta,
  isCounterCell,
  MAX_CELL_KIND,
  type ObjectValue,
} from './cell.js'
import { narrowQuantity } from './column.js'
import {
  MAX_DELTA_CELLS,
  MAX_GRANTS,
  MAX_KEY_LENGTH,
  MAX_NAMESPACE_LENGTH,
  MAX_PARTITION_LENGTH,
  MAX_REPLICA_LENGTH,
} from './limits.js'

const NO_GRANTS: CounterCell['value']['granted'] = []

/** [type, partition, replica, from, to, horizon, repair, cells]; the same bytes go to peers and journals. */
export function deltaToTuple(delta: Delta): WireTuple {
  const { partition, replica, from, to, horizon, repair } = delta
  return [MessageType.delta, partition, replica, from, to, horizon, repair, delta.cells.map(cellToTuple)]
}

/**
 * Checks the whole delta before anything of it can be applied.
 * @throws FrameError
 */
export function deltaFromTuple(tuple: WireTuple): Delta {
  const fields = expectTuple(tuple, 8, 'delta')
  const from = expectUint(fields[3], 'delta.from')
  const to = expectUint(fields[4], 'delta.to')
  const horizon = expectUint(fields[5], 'delta.horizon')
  if (to <= from || horizon < to) throw new FrameError(`delta interval (${from}, ${to}] up to ${horizon}`)
  const tuples = expectArray(fields[7], MAX_DELTA_CELLS, 'delta.cells')
  const cells: Cell[] = new Array(tuples.length)
  let previous = from
  for (let position = 0; position < tuples.length; position++) {
    const cell = cellFromTuple(tuples[position])
    if (cell.number <= previous || cell.number > to) {
      throw new FrameError(`cell number ${cell.number} out of order in (${from}, ${to}]`)
    }
    previous = cell.number
    cells[position] = cell
  }
  return {
    partition: expectString(fields[1], MAX_PARTITION_LENGTH, 'delta.partition'),
    replica: expectString(fields[2], MAX_REPLICA_LENGTH, 'delta.replica'),
    from,
    to,
    horizon,
    repair: expectBoolean(fields[6], 'delta.repair'),
    cells,
  }
}

/** [kind, number, namespace, key, …value]. */
export function cellToTuple(cell: Cell): WireTuple {
  if (!isCounterCell(cell)) return [cell.kind, cell.number, cell.namespace, cell.key, cell.value]
  const { deposited, withdrawn, compensated, granted } = cell.value
  const totals = [
    cell.kind,
    cell.number,
    cell.namespace,
    cell.key,
    wireQuantity(deposited),
    wireQuantity(withdrawn),
  ]
  if (compensated === 0 && granted.length === 0) return totals
  const grants: WireValue[] = []
  for (const [replica, amount] of granted) grants.push(replica, wireQuantity(amount))
  return [...totals, wireQuantity(compensated), grants]
}

/** @throws FrameError */
export function cellFromTuple(value: WireValue | undefined): Cell {
  const fields = expectTuple(value, 5, 'cell')
  const kind = expectUint(fields[0], 'cell.kind', MAX_CELL_KIND)
  const number = expectUint(fields[1], 'cell.number')
  const namespace = expectString(fields[2], MAX_NAMESPACE_LENGTH, 'cell.namespace')
  const key = expectString(fields[3], MAX_KEY_LENGTH, 'cell.key')
  if (kind !== CellKind.counter) {
    const rest = expectTuple(fields[4], 1, 'cell.value')
    if (expectNumber(rest[0], 'cell.expires') < 0) throw new FrameError('cell.expires is negative')
    return { kind, number, namespace, key, value: rest as ObjectValue }
  }
  return {
    kind: CellKind.counter,
    number,
    namespace,
    key,
    value: {
      deposited: readQuantity(fields[4], 'cell.deposited'),
      withdrawn: readQuantity(fields[5], 'cell.withdrawn'),
      compensated: fields.length > 6 ? readQuantity(fields[6], 'cell.compensated') : 0,
      granted: fields.length > 7 ? readGrants(fields[7]) : NO_GRANTS,
    },
  }
}

function readGrants(value: WireValue | undefined): CounterCell['value']['granted'] {
  const flat = expectArray(value, 2 * MAX_GRANTS, 'cell.granted')
  if (flat.length % 2 !== 0) throw new FrameError('cell.granted: pairs expected')
  const granted: [string, number | bigint][] = []
  for (let position = 0; position < flat.length; position += 2) {
    const replica = expectString(flat[position], MAX_REPLICA_LENGTH, 'cell.granted.replica')
    const before = granted.at(-1)
    if (before && before[0] >= replica) throw new FrameError('cell.granted: replicas out of order')
    granted.push([replica, readQuantity(flat[position + 1], 'cell.granted.amount')])
  }
  return granted
}

function wireQuantity(value: number | bigint): WireValue {
  return typeof value === 'number' ? value : bigintToWire(value)
}

function readQuantity(value: WireValue | undefined, field: string): number | bigint {
  return typeof value === 'number' ? expectUint(value, field) : narrowQuantity(expectBigint(value, field))
}
