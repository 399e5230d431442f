import { hashString } from '../sync/hash.js'
import type { ReplicaId } from '../sync/identity.js'
import { type Cell, CellKind, type CounterValue, type ObjectValue } from './cell.js'
import { addQuantities, Float64Column, Int32Column, Quantities, subtractQuantities } from './column.js'
import { EntryIndex, type EntryRows } from './entry-index.js'
import { hashCounter, hashObject } from './hash.js'
import { MAX_GRANTS } from './limits.js'
import { RecentBudget } from './recent-keys.js'
import { addGrants, type CounterIncrement, counterContribution, grantedTo, type Quantity } from './rights.js'
import { RowBlock } from './row-block.js'
import { TextColumn } from './text-column.js'

/** The entries of one kind under one name: the items of a storage, the registers, the members. */
export interface Namespace {
  readonly kind: number
  readonly name: string
  readonly index: number
  /** Key → entry row. */
  readonly entries: EntryIndex
}

const NONE = -1
const NO_GRANTS: CounterValue['granted'] = []
/** Receivers whose first grant may still be on its way to the journal. */
const GRANTS_UNDER_WAY = 64

/**
 * All cells of one partition in columns: about 100 bytes a counter beside its key. An *entry* is a key with
 * the cells that replicas have for it as a linked list; a *cell* is one replica's part.
 *
 * `total` of a counter entry is the visible quantity: the sum over all cells plus own writes that are still
 * on their way to the journal, which `addToTotal` brings in early. `elsewhere` is how much of it other
 * replicas hold rights to; an own deposit or withdrawal does not change it, so knowing the own rights costs
 * the hot path nothing: they are the difference.
 */
export class CellTable implements EntryRows {
  readonly namespaces = new Map<string, Namespace>()
  private lastNamespace: Namespace | undefined
  private readonly namespaceList: Namespace[] = []
  private readonly recentKeys = new RecentBudget()
  /** What a write asks of an entry: two entries a cache line. */
  private readonly entries = new RowBlock(32)
  private readonly entryKey = new TextColumn(this.entries.float64(0))
  private readonly entryTotal = new Quantities(this.entries.float64(8))
  private readonly entryHash = this.entries.int32(16)
  private readonly entryHead = this.entries.int32(20)
  private readonly entryNamespace = this.entries.int32(24)
  /** Slot in the open generation of own writes, or -1. Owned by `OwnWrites`. */
  readonly openSlot = this.entries.int32(28)
  readonly entryPosition = new Int32Column()
  private readonly elsewhereColumn = new Float64Column()
  private readonly entryElsewhere = new Quantities(this.elsewhereColumn)

  /** What a flush asks of a cell. */
  private readonly cells = new RowBlock(24)
  private readonly cellNumber = this.cells.float64(0)
  private readonly deposited = new Quantities(this.cells.float64(8))
  /** Cell row → entry; negative in rows that are free. */
  readonly cellEntry = this.cells.int32(16)
  private readonly cellNext = this.cells.int32(20)
  private readonly cellReplica = new Int32Column()
  private readonly withdrawnColumn = new Float64Column()
  private readonly withdrawn = new Quantities(this.withdrawnColumn)
  /** Only counters that have been compensated or have granted rights have a row here. */
  private readonly settled = new Map<number, Pick<CounterValue, 'compensated' | 'granted'>>()
  private readonly objects = new Map<number, ObjectValue>()
  /** Only where it is not the value's own expiry. */
  private readonly keepUntil = new Map<number, number>()
  /** How many numbers after the cell's own still belong to its batch; absent for none. */
  private readonly batchRest = new Map<number, number>()
  private self = NONE
  /** The replica that this server writes as. */
  selfReplica: ReplicaId | undefined
  private readonly freeCells: number[] = []
  private readonly freeEntries: number[] = []

  namespace(kind: number, name: string): Namespace {
    const last = this.lastNamespace
    if (last && last.kind === kind && last.name === name) return last
    const identifier = `${kind}:${name}`
    let namespace = this.namespaces.get(identifier)
    if (!namespace) {
      const entries = new EntryIndex(this, hashString(kind, name), this.recentKeys)
      namespace = { kind, name, index: this.namespaceList.length, entries }
      this.namespaceList.push(namespace)
      this.namespaces.set(identifier, namespace)
    }
    this.lastNamespace = namespace
    return namespace
  }

  findNamespace(kind: number, name: string): Namespace | undefined {
    return this.namespaces.get(`${kind}:${name}`)
  }

  /** The entry for a key, made when absent. */
  entry(namespace: Namespace, key: string): number {
    const hash = namespace.entries.hashOf(key)
    const known = namespace.entries.find(key, hash)
    if (known !== undefined) return known
    const entry = this.freeEntries.pop() ?? this.pushEntry()
    this.entryKey.set(entry, key)
    this.entryNamespace.set(entry, namespace.index)
    this.entryHash.set(entry, hash)
    namespace.entries.add(entry, hash)
    return entry
  }

  private pushEntry(): number {
    const entry = this.entries.push()
    this.entryHead.set(entry, NONE)
    this.openSlot.set(entry, NONE)
    this.entryPosition.push(NONE)
    this.elsewhereColumn.push(0)
    return entry
  }

  namespaceOf(entry: number): Namespace {
    return this.namespaceList[this.entryNamespace.get(entry)]!
  }

  keyOf(entry: number): string {
    return this.entryKey.get(entry)
  }

  entryHasKey(entry: number, key: string): boolean {
    return this.entryKey.equals(entry, key)
  }

  entryHashOf(entry: number): number {
    return this.entryHash.get(entry)
  }

  /** A counter entry's visible quantity: a number when safe, else a bigint; may be negative. */
  total(entry: number): number | bigint {
    return this.entryTotal.get(entry)
  }

  addToTotal(entry: number, amount: number | bigint): void {
    this.entryTotal.add(entry, amount)
  }

  ownRights(entry: number): Quantity {
    return subtractQuantities(this.entryTotal.get(entry), this.entryElsewhere.get(entry))
  }

  /** Own rights go to someone else, or come from there when negative. */
  addRightsElsewhere(entry: number, amount: Quantity): void {
    this.entryElsewhere.add(entry, amount)
  }

  /** Changes whose rights are the own ones, here as index and as name. Costs one pass over the cells. */
  setSelf(index: number, replica: ReplicaId): void {
    this.addDurableRights(1)
    this.self = index
    this.selfReplica = replica
    this.addDurableRights(-1)
  }

  /** Counts what the table holds for the own replica as held elsewhere (sign 1), or takes that back (-1). */
  private addDurableRights(sign: 1 | -1): void {
    const { self, selfReplica } = this
    if (selfReplica === undefined) return
    for (let cell = 0; cell < this.cells.length; cell++) {
      const entry = this.cellEntry.get(cell)
      const isOwn = this.cellReplica.get(cell) === self
      if (entry === NONE || !(isOwn || this.settled.has(cell))) continue
      if (this.namespaceOf(entry).kind !== CellKind.counter) continue
      const amount = isOwn ? this.ownDurableRights(cell) : grantedTo(this.grantsOf(cell), selfReplica)
      this.entryElsewhere.add(entry, sign === 1 ? amount : -amount)
    }
  }

  private ownDurableRights(cell: number): Quantity {
    let rights = counterContribution(this.counterValue(cell))
    for (const [receiver, amount] of this.grantsOf(cell)) {
      if (receiver !== this.selfReplica) rights = subtractQuantities(rights, amount)
    }
    return rights
  }

  private grantsOf(cell: number): CounterValue['granted'] {
    return this.settled.get(cell)?.granted ?? NO_GRANTS
  }

  /** How many replicas the own cell of an entry has granted rights to. */
  ownGrantCount(entry: number): number {
    if (this.settled.size === 0) return 0
    const cell = this.findCell(entry, this.self)
    return cell < 0 ? 0 : this.grantsOf(cell).length
  }

  /** What the own cell of an entry has granted to a replica. */
  ownGrantTo(entry: number, receiver: ReplicaId): Quantity {
    const cell = this.settled.size === 0 ? NONE : this.findCell(entry, this.self)
    return cell < 0 ? 0 : grantedTo(this.grantsOf(cell), receiver)
  }

  mayGrantTo(entry: number, receiver: ReplicaId): boolean {
    if (this.settled.size === 0) return true
    const cell = this.findCell(entry, this.self)
    if (cell < 0) return true
    const granted = this.grantsOf(cell)
    return granted.length < MAX_GRANTS - GRANTS_UNDER_WAY || granted.some(([replica]) => replica === receiver)
  }

  /** The cell of a replica (by its index) under an entry, or -1. */
  findCell(entry: number, replica: number): number {
    let cell = this.entryHead.get(entry)
    while (cell !== NONE && this.cellReplica.get(cell) !== replica) cell = this.cellNext.get(cell)
    return cell
  }

  *cellsOf(entry: number): IterableIterator<number> {
    for (let cell = this.entryHead.get(entry); cell !== NONE; cell = this.cellNext.get(cell)) yield cell
  }

  numberOf(cell: number): number {
    return this.cellNumber.get(cell)
  }

  replicaOf(cell: number): number {
    return this.cellReplica.get(cell)
  }

  entryOf(cell: number): number {
    return this.cellEntry.get(cell)
  }

  /** Adds an empty cell numbered 0; `first` puts it at the head, where a replica's own cells are found at once. */
  addCell(entry: number, replica: number, first: boolean): number {
    const cell = this.freeCells.pop() ?? this.pushCell()
    this.cellNumber.set(cell, 0)
    this.cellReplica.set(cell, replica)
    this.cellEntry.set(cell, entry)
    const head = this.entryHead.get(entry)
    if (first || head === NONE) {
      this.cellNext.set(cell, head)
      this.entryHead.set(entry, cell)
    } else {
      this.cellNext.set(cell, this.cellNext.get(head))
      this.cellNext.set(head, cell)
    }
    return cell
  }

  private pushCell(): number {
    this.cellReplica.push(NONE)
    this.withdrawnColumn.push(0)
    return this.cells.push()
  }

  /** Unlinks an object cell that has expired, and its entry with the last one; the rows are used again. */
  removeCell(cell: number): void {
    const entry = this.cellEntry.get(cell)
    const next = this.cellNext.get(cell)
    let before = this.entryHead.get(entry)
    if (before === cell) this.entryHead.set(entry, next)
    else {
      while (this.cellNext.get(before) !== cell) before = this.cellNext.get(before)
      this.cellNext.set(before, next)
    }
    this.objects.delete(cell)
    this.keepUntil.delete(cell)
    this.batchRest.delete(cell)
    this.cellEntry.set(cell, NONE)
    this.cellNumber.set(cell, 0)
    this.freeCells.push(cell)
    if (this.entryHead.get(entry) !== NONE || this.openSlot.get(entry) !== NONE) return
    this.namespaceOf(entry).entries.remove(entry)
    this.freeEntries.push(entry)
  }

  counterValue(cell: number): CounterValue {
    const settled = this.settled.get(cell)
    return {
      deposited: this.deposited.get(cell),
      withdrawn: this.withdrawn.get(cell),
      compensated: settled?.compensated ?? 0,
      granted: settled?.granted ?? NO_GRANTS,
    }
  }

  /** The value of a counter cell after an own change. */
  counterPlus(cell: number, change: CounterIncrement): CounterValue {
    const settled = this.settled.get(cell)
    const granted = settled?.granted ?? NO_GRANTS
    return {
      deposited: addQuantities(this.deposited.get(cell), change.deposited),
      withdrawn: addQuantities(this.withdrawn.get(cell), change.withdrawn),
      compensated: addQuantities(settled?.compensated ?? 0, change.compensated),
      granted: change.granted ? addGrants(granted, change.granted) : granted,
    }
  }

  objectValue(cell: number): ObjectValue {
    return this.objects.get(cell)!
  }

  /** When the cell may be forgotten, wall ms; 0 for never. */
  keepUntilMs(cell: number): number {
    return this.keepUntil.get(cell) ?? this.objects.get(cell)![0]
  }

  batchRestOf(cell: number): number {
    return this.batchRest.size === 0 ? 0 : (this.batchRest.get(cell) ?? 0)
  }

  setBatchRest(cell: number, rest: number): void {
    if (rest > 0) this.batchRest.set(cell, rest)
    else if (this.batchRest.size > 0) this.batchRest.delete(cell)
  }

  /** Overwrites a counter cell of another replica; the entry's total and rights follow. */
  mergeCounter(cell: number, number: number, value: CounterValue): void {
    const entry = this.cellEntry.get(cell)
    let gain = counterContribution(value)
    const settled = this.settled.size > 0 ? this.settled.get(cell) : undefined
    if (this.cellNumber.get(cell) > 0) {
      const standing = subtractQuantities(this.withdrawn.get(cell), settled?.compensated ?? 0)
      gain = subtractQuantities(gain, subtractQuantities(this.deposited.get(cell), standing))
    }
    this.entryTotal.add(entry, gain)
    if (this.selfReplica !== undefined && (value.granted.length > 0 || settled)) {
      const before = grantedTo(settled?.granted ?? NO_GRANTS, this.selfReplica)
      gain = subtractQuantities(gain, subtractQuantities(grantedTo(value.granted, this.selfReplica), before))
    }
    this.entryElsewhere.add(entry, gain)
    this.setCounter(cell, number, value)
  }

  /** Overwrites a counter cell whose change is already in the entry's total: an own one. */
  setCounter(cell: number, number: number, value: CounterValue): void {
    this.cellNumber.set(cell, number)
    this.deposited.set(cell, value.deposited)
    this.withdrawn.set(cell, value.withdrawn)
    if (value.compensated !== 0 || value.granted.length > 0) {
      this.settled.set(cell, { compensated: value.compensated, granted: value.granted })
    } else if (this.settled.size > 0) {
      this.settled.delete(cell)
    }
  }

  setObject(cell: number, number: number, value: ObjectValue, keepUntilMs: number | undefined): void {
    this.cellNumber.set(cell, number)
    this.objects.set(cell, value)
    if (keepUntilMs === undefined) this.keepUntil.delete(cell)
    else this.keepUntil.set(cell, keepUntilMs)
  }

  /** The cell as it travels. */
  export(cell: number): Cell {
    const entry = this.cellEntry.get(cell)
    const { kind, name } = this.namespaceOf(entry)
    const number = this.cellNumber.get(cell)
    const key = this.entryKey.get(entry)
    if (kind === CellKind.counter) {
      return { kind: CellKind.counter, number, namespace: name, key, value: this.counterValue(cell) }
    }
    const object = { kind, number, namespace: name, key, value: this.objects.get(cell)! }
    const keepUntilMs = this.keepUntil.get(cell)
    return keepUntilMs === undefined ? object : { ...object, keepUntilMs }
  }

  /** 0 for cells that expire: servers forget those at slightly different moments, so they are left out. */
  hashOf(cell: number): number {
    const entry = this.cellEntry.get(cell)
    const seed = this.entryHash.get(entry)
    const number = this.cellNumber.get(cell)
    if (this.namespaceOf(entry).kind !== CellKind.counter) {
      const value = this.objects.get(cell)!
      return this.keepUntilMs(cell) === 0 ? hashObject(seed, number, value) : 0
    }
    const settled = this.settled.size > 0 ? this.settled.get(cell) : undefined
    const deposited = this.deposited.get(cell)
    const withdrawn = this.withdrawn.get(cell)
    if (!settled) return hashCounter(seed, number, deposited, withdrawn, 0, NO_GRANTS)
    return hashCounter(seed, number, deposited, withdrawn, settled.compensated, settled.granted)
  }

  get entryCount(): number {
    return this.entries.length - this.freeEntries.length
  }

  get cellCount(): number {
    return this.cells.length - this.freeCells.length
  }

  /** Object cells only, for expiry. */
  objectCells(): IterableIterator<[number, ObjectValue]> {
    return this.objects.entries()
  }
}
