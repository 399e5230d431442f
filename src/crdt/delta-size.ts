import type { WireValue } from '../wire/wire-value.js'
import { type Cell, isCounterCell } from './cell.js'

/**
 * About how many bytes a cell takes on the wire: enough to cut deltas to size without encoding them twice.
 * Never below the truth by more than a small factor; text is counted as three bytes a character only when
 * it may need them.
 */
export function cellBytes(cell: Cell): number {
  const head = 12 + cell.namespace.length + cell.key.length
  if (!isCounterCell(cell)) return head + valueBytes(cell.value)
  let bytes = head + quantityBytes(cell.value.deposited) + quantityBytes(cell.value.withdrawn)
  bytes += quantityBytes(cell.value.compensated)
  for (const [replica, amount] of cell.value.granted) bytes += replica.length + 4 + quantityBytes(amount)
  return bytes
}

function quantityBytes(value: number | bigint): number {
  return typeof value === 'number' ? 5 : 3 + value.toString(16).length / 2
}

/** About how many bytes a value takes on the wire. */
export function valueBytes(value: WireValue): number {
  if (typeof value === 'string') return 3 + 3 * value.length
  if (value instanceof Uint8Array) return 5 + value.length
  if (typeof value === 'object' && value !== null) {
    let bytes = 3
    for (const element of value) bytes += valueBytes(element)
    return bytes
  }
  return 9
}

/**
 * Splits unnumbered cells into runs of about `maxBytes` each. Neighbours with the same number other than 0
 * are of one batch and stay together (see `Partition.takeUnnumbered`).
 */
export function cutCells(cells: readonly Cell[], maxBytes: number): Cell[][] {
  const runs: Cell[][] = []
  let bytes = Number.POSITIVE_INFINITY
  let batch = 0
  for (const cell of cells) {
    if (bytes >= maxBytes && (cell.number === 0 || cell.number !== batch)) {
      runs.push([])
      bytes = 0
    }
    batch = cell.number
    runs.at(-1)!.push(cell)
    bytes += cellBytes(cell)
  }
  return runs
}
