import { CborWriter } from '../wire/cbor-writer.js'
import { encodeMessage } from '../wire/encode.js'
import { bigintToWire } from '../wire/expect.js'
import { MessageType } from '../wire/message-type.js'
import { type Cell, type CounterCell, type Delta, isCounterCell } from './cell.js'
import { cellToTuple } from './delta-codec.js'
import type { Quantity } from './rights.js'

const writer = new CborWriter()

/**
 * A delta as the message that peers and journals get: byte for byte `encodeMessage(deltaToTuple(delta))`, which
 * stays the definition, at a fraction of its cost. Every own write and every loaded cell passes through here.
 * @throws InvalidArgumentError as `encodeMessage` does
 */
export function encodeDelta(delta: Delta): Uint8Array {
  const { batches, cells } = delta
  const hasBatches = batches !== undefined && batches.length > 0
  writer.begin()
  writer.array(hasBatches ? 9 : 8)
  writer.uint(MessageType.delta)
  writer.text(delta.partition)
  writer.text(delta.replica)
  writer.uint(delta.from)
  writer.uint(delta.to)
  writer.uint(delta.horizon)
  writer.boolean(delta.repair)
  writer.array(cells.length)
  for (const cell of cells) writeCell(cell)
  if (hasBatches) {
    writer.array(2 * batches.length)
    for (const [first, last] of batches) {
      writer.uint(first)
      writer.uint(last)
    }
  }
  return writer.finish()
}

function writeCell(cell: Cell): void {
  if (isCounterCell(cell)) writeCounter(cell)
  else writer.encoded(encodeMessage(cellToTuple(cell)))
}

function writeCounter({ kind, number, namespace, key, value }: CounterCell): void {
  const { deposited, withdrawn, compensated, granted } = value
  const isShort = compensated === 0 && granted.length === 0
  writer.array(isShort ? 6 : 8)
  writer.uint(kind)
  writer.uint(number)
  writer.text(namespace)
  writer.text(key)
  writeQuantity(deposited)
  writeQuantity(withdrawn)
  if (isShort) return
  writeQuantity(compensated)
  writer.array(2 * granted.length)
  for (const [replica, amount] of granted) {
    writer.text(replica)
    writeQuantity(amount)
  }
}

function writeQuantity(value: Quantity): void {
  const wire = typeof value === 'number' ? value : bigintToWire(value)
  if (typeof wire === 'number') writer.uint(wire)
  else writer.byteString(wire)
}
