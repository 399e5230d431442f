import type { WireValue } from '../wire/wire-value.js'
import { type Cell, isCounterCell } from './cell.js'

/**
 * A total order over cells with the same dot, the same on every server. Equal in all correct histories; it
 * decides only after a defect, so it is simple rather than fast.
 */
export function compareCells(left: Cell, right: Cell): number {
  const leftText = JSON.stringify(cellAsJson(left))
  const rightText = JSON.stringify(cellAsJson(right))
  if (leftText === rightText) return 0
  return leftText > rightText ? 1 : -1
}

function cellAsJson(cell: Cell): unknown {
  if (!isCounterCell(cell)) return cell.value.map(wireValueAsJson)
  const { deposited, withdrawn, compensated, granted } = cell.value
  return [deposited, withdrawn, compensated, granted.flat()].map((part) => JSON.stringify(part, bigintAsText))
}

function wireValueAsJson(value: WireValue): unknown {
  if (value instanceof Uint8Array) return { bytes: [...value] }
  return Array.isArray(value) ? value.map(wireValueAsJson) : value
}

function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
}
