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
  type BatchSpan,
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
  MAX_SPAN_CELLS,
} from './limits.js'

const NO_GRANTS: CounterCell['value']['granted'] = []

/**
 * [type, partition, replica, from, to, horizon, repair, cells, batches?]; the same bytes go to peers and
 * journals. Batches are a flat list of first and last numbers, left out when there are none.
 */
export function deltaToTuple(delta: Delta): WireTuple {
  const { partition, replica, from, to, horizon, repair, batches } = delta
  const cells = delta.cells.map(cellToTuple)
  const tuple: WireTuple = [MessageType.delta, partition, replica, from, to, horizon, repair, cells]
  return batches && batches.length > 0 ? [...tuple, batches.flat()] : tuple
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
  const batches = readBatches(fields[8], from, to)
  return {
    partition: expectString(fields[1], MAX_PARTITION_LENGTH, 'delta.partition'),
    replica: expectString(fields[2], MAX_REPLICA_LENGTH, 'delta.replica'),
    from,
    to,
    horizon,
    repair: expectBoolean(fields[6], 'delta.repair'),
    cells,
    ...(batches.length > 0 && { batches }),
  }
}

function readBatches(value: WireValue | undefined, from: number, to: number): BatchSpan[] {
  if (value === undefined) return []
  const flat = expectArray(value, 2 * MAX_DELTA_CELLS, 'delta.batches')
  if (flat.length % 2 !== 0) throw new FrameError('delta.batches: pairs expected')
  const batches: BatchSpan[] = []
  let previous = from
  for (let position = 0; position < flat.length; position += 2) {
    const first = expectUint(flat[position], 'delta.batches.first')
    const last = expectUint(flat[position + 1], 'delta.batches.last', to)
    if (first <= previous || last <= first || last - first >= MAX_SPAN_CELLS) {
      throw new FrameError(`delta.batches: [${first}, ${last}] in (${from}, ${to}]`)
    }
    previous = last
    batches.push([first, last])
  }
  return batches
}

/**
 * [kind, number, namespace, key, …value]. What a newer version adds to a known kind would be lost on its way
 * through an older one, so additions come as new kinds, which are passed on as they are.
 */
export function cellToTuple(cell: Cell): WireTuple {
  if (!isCounterCell(cell)) {
    const tuple = [cell.kind, cell.number, cell.namespace, cell.key, cell.value]
    return cell.keepUntilMs === undefined ? tuple : [...tuple, cell.keepUntilMs]
  }
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
    const cell = { kind, number, namespace, key, value: rest as ObjectValue }
    return fields.length > 5 ? { ...cell, keepUntilMs: expectUint(fields[5], 'cell.keepUntil') } : cell
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
