import { assertInvariant } from '../sync/errors.js'
import type { ReplicaId } from '../sync/identity.js'
import { type Cell, CellKind, type CounterValue, isCounterCell, type ObjectValue } from './cell.js'
import type { CellTable } from './cell-table.js'
import { addQuantities } from './column.js'
import { valueBytes } from './delta-size.js'
import { MAX_BATCH_WRITES, MAX_SPAN_BYTES, MAX_SPAN_CELLS } from './limits.js'
import { addGrants, type Quantity } from './rights.js'

/** Changes of a generation whose cells stay together: one batch, or several that share an entry. */
export interface ChangeSpan {
  members: OwnChange[]
  bytes: number
}

/** One change of an entry within a generation: amounts to add for a counter, the whole value otherwise. */
export interface OwnChange {
  readonly entry: number
  deposited: Quantity
  withdrawn: Quantity
  compensated: Quantity
  granted: Map<ReplicaId, Quantity> | undefined
  object: ObjectValue | undefined
  span: ChangeSpan | undefined
}

/** One write of a batch. Amounts are positive increments. */
export interface OwnWrite {
  readonly entry: number
  readonly deposited?: Quantity
  readonly withdrawn?: Quantity
  readonly compensated?: Quantity
  readonly granted?: readonly [receiver: ReplicaId, amount: Quantity]
  readonly object?: ObjectValue
}

/**
 * Changes in one generation: what one flush numbers and encodes in about 4 ms, and takes into the table in 3.
 * A smaller one would be cheaper by the flush and dearer by the write: entries written again before their flush
 * cost nothing, and the larger a generation, the more of them there are.
 */
export const MAX_GENERATION_CHANGES = 16_000
/** Bytes of object values in one generation, about; counters are small enough to be counted as changes. */
export const MAX_GENERATION_OBJECT_BYTES = 4 * 1024 * 1024

/** The own writes of one flush: each touched entry once, however often it was written. */
export type Generation = readonly OwnChange[]

/**
 * Own writes between the call and the journal. They show in what is read here at once, but get a number, and
 * so can leave the server, only when a flush takes them (invariant J1: persist before gossip).
 *
 * A *batch* is all or nothing: its changes lie in one generation, so one flush journals them together, and
 * their numbers are neighbours, which no delta separates (invariant D4).
 */
export class OwnWrites {
  private open: OwnChange[] = []
  private openObjectBytes = 0
  /** Full generations waiting for their flush, oldest first. */
  private readonly sealed: Generation[] = []
  /** Object values not yet in the table, newest last wins; reads look here first. */
  private readonly pendingObjects = new Map<number, ObjectValue>()
  /** Grants not yet in the table: entry → receiver → amount. */
  private readonly pendingGrants = new Map<number, Map<ReplicaId, Quantity>>()

  constructor(private readonly table: CellTable) {}

  get isEmpty(): boolean {
    return this.open.length === 0 && this.sealed.length === 0
  }

  /** Full generations that wait for their flush: how far writes are ahead of the journal. */
  get sealedCount(): number {
    return this.sealed.length
  }

  /** The generation that the newest write went into; a stable object until a flush has taken it. */
  get openGeneration(): Generation {
    return this.open
  }

  /** All that no flush has taken yet, oldest first. */
  generations(): readonly Generation[] {
    return [...this.sealed, this.open]
  }

  deposit(entry: number, amount: Quantity): void {
    this.table.addToTotal(entry, amount)
    const change = this.changeOf(entry)
    change.deposited = addQuantities(change.deposited, amount)
  }

  /** Takes items out whether backed or not; the caller has compared `rights` and the quantity. */
  withdraw(entry: number, amount: Quantity): void {
    this.table.addToTotal(entry, -amount)
    const change = this.changeOf(entry)
    change.withdrawn = addQuantities(change.withdrawn, amount)
  }

  /** Takes part of an own withdrawal back. */
  compensate(entry: number, amount: Quantity): void {
    this.table.addToTotal(entry, amount)
    const change = this.changeOf(entry)
    change.compensated = addQuantities(change.compensated, amount)
  }

  /** Hands own rights over; they are gone here at once and arrive there once this write is durable. */
  grant(entry: number, receiver: ReplicaId, amount: Quantity): void {
    assertInvariant(receiver !== this.table.selfReplica, 'W1', 'a replica cannot grant rights to itself')
    assertInvariant(amount > 0 && amount <= this.rights(entry), 'W2', `grant of ${amount} beyond own rights`)
    this.addGrant(entry, receiver, amount)
  }

  /** Everything ever granted to a replica, grants under way included. Monotone within an incarnation. */
  grantedTotal(entry: number, receiver: ReplicaId): Quantity {
    const pending = this.pendingGrants.get(entry)?.get(receiver) ?? 0
    return addQuantities(this.table.ownGrantTo(entry, receiver), pending)
  }

  /** What has been given away by writes that are not in the table yet: gone here, not arrived anywhere. */
  grantsUnderWay(entry: number): Quantity {
    let sum: Quantity = 0
    for (const amount of this.pendingGrants.get(entry)?.values() ?? []) sum = addQuantities(sum, amount)
    return sum
  }

  private addPendingGrant(entry: number, receiver: ReplicaId, amount: Quantity): void {
    const grants = this.pendingGrants.get(entry) ?? new Map<ReplicaId, Quantity>()
    const sum = addQuantities(grants.get(receiver) ?? 0, amount)
    if (sum === 0) grants.delete(receiver)
    else grants.set(receiver, sum)
    if (grants.size === 0) this.pendingGrants.delete(entry)
    else this.pendingGrants.set(entry, grants)
  }

  private addGrant(entry: number, receiver: ReplicaId, amount: Quantity): void {
    this.addPendingGrant(entry, receiver, amount)
    this.table.addRightsElsewhere(entry, amount)
    const change = this.changeOf(entry)
    change.granted ??= new Map()
    change.granted.set(receiver, addQuantities(change.granted.get(receiver) ?? 0, amount))
  }

  setObject(entry: number, value: ObjectValue): void {
    const bytes = valueBytes(value)
    const slot = this.table.openSlot.get(entry)
    const span = slot >= 0 ? this.open[slot]!.span : undefined
    const spanIsFull = span !== undefined && span.bytes + bytes > MAX_SPAN_BYTES
    if (spanIsFull || this.openObjectBytes > MAX_GENERATION_OBJECT_BYTES) this.seal()
    this.putObject(entry, value, bytes)
  }

  private putObject(entry: number, value: ObjectValue, bytes: number): void {
    const change = this.changeOf(entry)
    change.object = value
    if (change.span) change.span.bytes += bytes
    this.openObjectBytes += bytes
    this.pendingObjects.set(entry, value)
  }

  /** Whether rights may be granted to this replica at all: a cell names a bounded number of receivers. */
  canGrant(entry: number, receiver: ReplicaId): boolean {
    return receiver !== this.table.selfReplica && this.table.mayGrantTo(entry, receiver)
  }

  /** Own rights as of now, own writes under way and grants that have arrived included; negative is a debt. */
  rights(entry: number): Quantity {
    return this.table.ownRights(entry)
  }

  /**
   * Several writes as one. Nothing has happened when this throws.
   * @throws InvariantViolation when they exceed `MAX_BATCH_WRITES` or `MAX_SPAN_BYTES`, or give rights that are
   * not there.
   */
  batch(writes: readonly OwnWrite[]): void {
    assertInvariant(writes.length <= MAX_BATCH_WRITES, 'D4', `a batch of ${writes.length} writes`)
    this.requireGrantable(writes)
    let objectBytes = 0
    for (const { object } of writes) if (object) objectBytes += valueBytes(object)
    this.openSpan(new Set(writes.map(({ entry }) => entry)), objectBytes)
    for (const write of writes) this.write(write)
  }

  private write({ entry, deposited, withdrawn, compensated, granted, object }: OwnWrite): void {
    if (deposited) this.deposit(entry, deposited)
    if (compensated) this.compensate(entry, compensated)
    if (withdrawn) this.withdraw(entry, withdrawn)
    if (granted) this.addGrant(entry, granted[0], granted[1])
    if (object) this.putObject(entry, object, valueBytes(object))
  }

  /** Takes up changes again that an earlier run made; what was allowed then is not asked again. */
  readopt(entries: readonly number[], cells: readonly Cell[]): void {
    let objectBytes = 0
    for (const cell of cells) if (!isCounterCell(cell)) objectBytes += valueBytes(cell.value)
    this.openSpan(new Set(entries), objectBytes)
    for (const [position, cell] of cells.entries()) {
      const entry = entries[position]!
      if (!isCounterCell(cell)) {
        this.write({ entry, object: cell.value })
        continue
      }
      const { deposited, withdrawn, compensated, granted } = cell.value
      this.write({ entry, deposited, withdrawn, compensated })
      for (const [receiver, amount] of granted) this.addGrant(entry, receiver, amount)
    }
  }

  private requireGrantable(writes: readonly OwnWrite[]): void {
    const rights = new Map<number, Quantity>()
    for (const { entry, deposited, withdrawn, compensated, granted } of writes) {
      let left = rights.get(entry) ?? this.rights(entry)
      left = addQuantities(
        addQuantities(left, deposited ?? 0),
        addQuantities(compensated ?? 0, -(withdrawn ?? 0)),
      )
      if (granted) {
        assertInvariant(
          granted[0] !== this.table.selfReplica,
          'W1',
          'a replica cannot grant rights to itself',
        )
        left = addQuantities(left, -granted[1])
        // What the same write brings in may be handed on whatever else is owed.
        const broughtIn = addQuantities(deposited ?? 0, compensated ?? 0)
        const isBacked = left >= 0 || granted[1] <= broughtIn
        assertInvariant(granted[1] > 0 && isBacked, 'W2', `grant of ${granted[1]} beyond own rights`)
      }
      rights.set(entry, left)
    }
  }

  /** Brings the open changes of all entries into one span, in a generation that has room for them. */
  private openSpan(entries: ReadonlySet<number>, objectBytes: number): void {
    if (!this.roomFor(entries, objectBytes)) {
      this.seal()
      assertInvariant(this.roomFor(entries, objectBytes), 'D4', 'a batch larger than a message may be')
    }
    if (entries.size < 2) return
    const span: ChangeSpan = { members: [], bytes: 0 }
    for (const entry of entries) {
      const change = this.changeOf(entry)
      if (change.span === span) continue
      const objectBytes = change.object ? valueBytes(change.object) : 0
      const joined = change.span ?? { members: [change], bytes: this.spanBytes(entry) + objectBytes }
      for (const member of joined.members) {
        member.span = span
        span.members.push(member)
      }
      span.bytes += joined.bytes
    }
  }

  private roomFor(entries: ReadonlySet<number>, objectBytes: number): boolean {
    if (this.openObjectBytes > MAX_GENERATION_OBJECT_BYTES) return false
    const spans = new Set<ChangeSpan>()
    let fresh = 0
    let cells = 0
    let bytes = objectBytes
    for (const entry of entries) {
      const slot = this.table.openSlot.get(entry)
      const change = slot >= 0 ? this.open[slot]! : undefined
      if (!change) fresh += 1
      if (change?.span) spans.add(change.span)
      else {
        cells += 1
        bytes += this.spanBytes(entry)
        // A value set before the batch counts as well: it becomes part of the span.
        if (change?.object) bytes += valueBytes(change.object)
      }
    }
    for (const span of spans) {
      cells += span.members.length
      bytes += span.bytes
    }
    const fits = this.open.length + fresh <= MAX_GENERATION_CHANGES
    return fits && cells <= MAX_SPAN_CELLS && bytes <= MAX_SPAN_BYTES
  }

  /** A bound on what a cell of this entry takes on the wire, object value aside. */
  private spanBytes(entry: number): number {
    return 64 + this.table.keyOf(entry).length + this.table.ownGrantCount(entry) * 110
  }

  pendingObject(entry: number): ObjectValue | undefined {
    return this.pendingObjects.get(entry)
  }

  /** The oldest generation, which takes no more changes from now on. Empty when there is none. */
  take(): Generation {
    if (this.sealed.length === 0) this.seal()
    return this.sealed.shift() ?? []
  }

  private seal(): void {
    if (this.open.length === 0) return
    for (const change of this.open) this.table.openSlot.set(change.entry, -1)
    this.sealed.push(this.open)
    this.open = []
    this.openObjectBytes = 0
  }

  /** The table has this generation now: its object values need no longer be looked up here. */
  settled(generation: Generation): void {
    if (this.pendingObjects.size === 0 && this.pendingGrants.size === 0) return
    for (const change of generation) {
      for (const [receiver, amount] of change.granted ?? []) {
        this.addPendingGrant(change.entry, receiver, -amount)
      }
      if (change.object && this.pendingObjects.get(change.entry) === change.object) {
        this.pendingObjects.delete(change.entry)
      }
    }
  }

  /** Adds an object value to a generation that was taken already, so that it is numbered together with it. */
  note(generation: Generation, entry: number, value: ObjectValue): void {
    const change = emptyChange(entry)
    change.object = value
    ;(generation as OwnChange[]).push(change)
    this.pendingObjects.set(entry, value)
  }

  /** Takes back what a generation of an earlier run has changed here: it has been numbered elsewhere. */
  forget(generation: Generation): void {
    for (const { entry, deposited, withdrawn, compensated, granted, object } of generation) {
      this.table.addToTotal(entry, -deposited)
      this.table.addToTotal(entry, withdrawn)
      this.table.addToTotal(entry, -compensated)
      for (const [receiver, amount] of granted ?? []) {
        this.addPendingGrant(entry, receiver, -amount)
        this.table.addRightsElsewhere(entry, -amount)
      }
      if (object && this.pendingObjects.get(entry) === object) this.pendingObjects.delete(entry)
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
    const change = emptyChange(entry)
    this.table.openSlot.set(entry, this.open.push(change) - 1)
    return change
  }
}

function emptyChange(entry: number): OwnChange {
  return {
    entry,
    deposited: 0,
    withdrawn: 0,
    compensated: 0,
    granted: undefined,
    object: undefined,
    span: undefined,
  }
}

/** The changes in the order in which they are numbered: those of one span next to each other. */
export function numberingOrder(generation: Generation): readonly OwnChange[] {
  const ordered: OwnChange[] = []
  for (const change of generation) {
    if (!change.span) ordered.push(change)
    else if (change.span.members[0] === change) ordered.push(...change.span.members)
  }
  return ordered
}

const NO_GRANTS: CounterValue['granted'] = []

/** A change as a cell with a number of its own choice, the way writes are journalled before they are numbered. */
export function changeAsCell(table: CellTable, change: OwnChange, number: number): Cell {
  const { kind, name } = table.namespaceOf(change.entry)
  const key = table.keyOf(change.entry)
  if (kind === CellKind.counter) {
    const { deposited, withdrawn, compensated } = change
    const granted = change.granted ? addGrants(NO_GRANTS, change.granted) : NO_GRANTS
    return {
      kind: CellKind.counter,
      number,
      namespace: name,
      key,
      value: { deposited, withdrawn, compensated, granted },
    }
  }
  return { kind, number, namespace: name, key, value: change.object! }
}
