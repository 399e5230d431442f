import type { Cell, ObjectValue } from './cell.js'
import { CellKind } from './cell.js'
import type { CellTable } from './cell-table.js'
import { addQuantities } from './column.js'
import { valueBytes } from './delta-size.js'

/** One change of an entry within a generation: amounts to add for a counter, the whole value otherwise. */
export interface OwnChange {
  readonly entry: number
  deposited: number | bigint
  withdrawn: number | bigint
  object: ObjectValue | undefined
}

/** Changes in one generation: what one flush encodes in a few milliseconds. */
export const MAX_GENERATION_CHANGES = 4096
/** Bytes of object values in one generation, about; counters are small enough to be counted as changes. */
export const MAX_GENERATION_OBJECT_BYTES = 4 * 1024 * 1024

/** The own writes of one flush: each touched entry once, however often it was written. */
export type Generation = readonly OwnChange[]

/**
 * Own writes between the call and the journal. They show in what is read here at once, but get a number, and
 * so can leave the server, only when a flush takes them (invariant J1: persist before gossip).
 */
export class OwnWrites {
  private open: OwnChange[] = []
  private openObjectBytes = 0
  /** Full generations waiting for their flush, oldest first. */
  private readonly sealed: Generation[] = []
  /** Object values not yet in the table, newest last wins; reads look here first. */
  private readonly pendingObjects = new Map<number, ObjectValue>()

  constructor(private readonly table: CellTable) {}

  get isEmpty(): boolean {
    return this.open.length === 0 && this.sealed.length === 0
  }

  /** The generation that the newest write went into; a stable object until a flush has taken it. */
  get openGeneration(): Generation {
    return this.open
  }

  deposit(entry: number, amount: number | bigint): void {
    this.table.addToTotal(entry, amount)
    const change = this.changeOf(entry)
    change.deposited = addQuantities(change.deposited, amount)
  }

  withdraw(entry: number, amount: number | bigint): void {
    this.table.addToTotal(entry, -amount)
    const change = this.changeOf(entry)
    change.withdrawn = addQuantities(change.withdrawn, amount)
  }

  setObject(entry: number, value: ObjectValue): void {
    if (this.openObjectBytes > MAX_GENERATION_OBJECT_BYTES) this.seal()
    this.openObjectBytes += valueBytes(value)
    this.changeOf(entry).object = value
    this.pendingObjects.set(entry, value)
  }

  pendingObject(entry: number): ObjectValue | undefined {
    return this.pendingObjects.get(entry)
  }

  /** The oldest generation, which takes no more changes from now on. Empty when there is none. */
  take(): Generation {
    if (this.sealed.length === 0) this.seal()
    return this.sealed.shift()!
  }

  private seal(): void {
    for (const change of this.open) this.table.openSlot.set(change.entry, -1)
    this.sealed.push(this.open)
    this.open = []
    this.openObjectBytes = 0
  }

  /** The table has this generation now: its object values need no longer be looked up here. */
  settled(generation: Generation): void {
    for (const change of generation) {
      if (change.object && this.pendingObjects.get(change.entry) === change.object) {
        this.pendingObjects.delete(change.entry)
      }
    }
  }

  /** Puts generations that were taken but got no number back in front of the queue, in their order. */
  requeue(generations: readonly Generation[]): void {
    this.sealed.unshift(...generations)
  }

  private changeOf(entry: number): OwnChange {
    const slot = this.table.openSlot.get(entry)
    if (slot >= 0) return this.open[slot]!
    if (this.open.length >= MAX_GENERATION_CHANGES) this.seal()
    const change: OwnChange = { entry, deposited: 0, withdrawn: 0, object: undefined }
    this.table.openSlot.set(entry, this.open.push(change) - 1)
    return change
  }
}

/** A change as a cell without a number, the way writes are journalled while they may not be numbered. */
export function changeAsCell(table: CellTable, change: OwnChange): Cell {
  const { kind, name } = table.namespaceOf(change.entry)
  const head = { number: 0, namespace: name, key: table.keyOf(change.entry) }
  if (kind === CellKind.counter) {
    const value = { deposited: change.deposited, withdrawn: change.withdrawn, compensated: 0, granted: [] }
    return { ...head, kind: CellKind.counter, value }
  }
  return { ...head, kind, value: change.object! }
}
