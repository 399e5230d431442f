import { type Cell, CellKind, type CounterValue, type ObjectValue } from './cell.js'
import { addQuantities, Float64Column, Int32Column, QuantityColumn, subtractQuantities } from './column.js'
import { hashCounter, hashObject, hashString } from './hash.js'

/** The entries of one kind under one name: the items of a storage, the registers, the members. */
export interface Namespace {
  readonly kind: number
  readonly name: string
  /** Key → entry row. */
  readonly entries: Map<string, number>
}

const NONE = -1
const NO_GRANTS: CounterValue['granted'] = []

/**
 * All cells of one partition in columns: about 100 bytes a counter beside its key. An *entry* is a key with
 * the cells that replicas have for it as a linked list; a *cell* is one replica's part.
 *
 * `total` of a counter entry is the visible quantity: the sum over all cells plus own writes that are still
 * on their way to the journal, which `addToTotal` brings in early.
 */
export class CellTable {
  readonly namespaces = new Map<string, Namespace>()
  private lastNamespace: Namespace | undefined

  private readonly entryNamespace: Namespace[] = []
  private readonly entryKey: string[] = []
  private readonly entryHash = new Int32Column()
  private readonly entryHead = new Int32Column()
  private readonly entryTotal = new QuantityColumn()
  /** Slot in the open generation of own writes, or -1. Owned by `OwnWrites`. */
  readonly openSlot = new Int32Column()

  private readonly cellNumber = new Float64Column()
  private readonly cellReplica = new Int32Column()
  private readonly cellEntry = new Int32Column()
  private readonly cellNext = new Int32Column()
  private readonly deposited = new QuantityColumn()
  private readonly withdrawn = new QuantityColumn()
  /** Only counters that have been compensated or have granted rights have a row here. */
  private readonly settled = new Map<number, Pick<CounterValue, 'compensated' | 'granted'>>()
  private readonly objects = new Map<number, ObjectValue>()
  private readonly freeCells: number[] = []
  private readonly freeEntries: number[] = []

  namespace(kind: number, name: string): Namespace {
    const last = this.lastNamespace
    if (last && last.kind === kind && last.name === name) return last
    const identifier = `${kind}:${name}`
    let namespace = this.namespaces.get(identifier)
    if (!namespace) {
      namespace = { kind, name, entries: new Map() }
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
    const known = namespace.entries.get(key)
    if (known !== undefined) return known
    const entry = this.freeEntries.pop() ?? this.pushEntry()
    this.entryKey[entry] = key
    this.entryNamespace[entry] = namespace
    this.entryHash.set(entry, hashString(hashString(namespace.kind, namespace.name), key))
    namespace.entries.set(key, entry)
    return entry
  }

  private pushEntry(): number {
    this.entryHead.push(NONE)
    this.entryTotal.push(0)
    this.openSlot.push(NONE)
    return this.entryHash.push(0)
  }

  namespaceOf(entry: number): Namespace {
    return this.entryNamespace[entry]!
  }

  keyOf(entry: number): string {
    return this.entryKey[entry]!
  }

  /** A counter entry's visible quantity: a number when safe, else a bigint; may be negative. */
  total(entry: number): number | bigint {
    return this.entryTotal.get(entry)
  }

  addToTotal(entry: number, amount: number | bigint): void {
    this.entryTotal.add(entry, amount)
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
    const cell = this.cellNumber.push(0)
    this.cellReplica.push(NONE)
    this.cellEntry.push(NONE)
    this.cellNext.push(NONE)
    this.deposited.push(0)
    this.withdrawn.push(0)
    return cell
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
    this.cellEntry.set(cell, NONE)
    this.cellNumber.set(cell, 0)
    this.freeCells.push(cell)
    if (this.entryHead.get(entry) !== NONE || this.openSlot.get(entry) !== NONE) return
    this.entryNamespace[entry]!.entries.delete(this.entryKey[entry]!)
    this.entryKey[entry] = ''
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

  objectValue(cell: number): ObjectValue {
    return this.objects.get(cell)!
  }

  /** Overwrites a counter cell. The entry's total follows unless its change is already in there. */
  setCounter(cell: number, number: number, value: CounterValue, totalFollows: boolean): void {
    if (totalFollows) {
      const entry = this.cellEntry.get(cell)
      const before = counterContribution(this.counterValue(cell))
      this.entryTotal.add(entry, subtractQuantities(counterContribution(value), before))
    }
    this.cellNumber.set(cell, number)
    this.deposited.set(cell, value.deposited)
    this.withdrawn.set(cell, value.withdrawn)
    if (value.compensated !== 0 || value.granted.length > 0) {
      this.settled.set(cell, { compensated: value.compensated, granted: value.granted })
    } else if (this.settled.size > 0) {
      this.settled.delete(cell)
    }
  }

  setObject(cell: number, number: number, value: ObjectValue): void {
    this.cellNumber.set(cell, number)
    this.objects.set(cell, value)
  }

  /** The cell as it travels. */
  export(cell: number): Cell {
    const entry = this.cellEntry.get(cell)
    const { kind, name } = this.entryNamespace[entry]!
    const head = { kind, number: this.cellNumber.get(cell), namespace: name, key: this.entryKey[entry]! }
    return kind === CellKind.counter
      ? { ...head, kind: CellKind.counter, value: this.counterValue(cell) }
      : { ...head, value: this.objectValue(cell) }
  }

  /** 0 for cells that expire: servers forget those at slightly different moments, so they are left out. */
  hashOf(cell: number): number {
    const entry = this.cellEntry.get(cell)
    const seed = this.entryHash.get(entry)
    const number = this.cellNumber.get(cell)
    if (this.entryNamespace[entry]!.kind === CellKind.counter)
      return hashCounter(seed, number, this.counterValue(cell))
    const value = this.objects.get(cell)!
    return value[0] === 0 ? hashObject(seed, number, value) : 0
  }

  get entryCount(): number {
    return this.entryKey.length - this.freeEntries.length
  }

  get cellCount(): number {
    return this.cellNumber.length - this.freeCells.length
  }

  /** Object cells only, for expiry. */
  objectCells(): IterableIterator<[number, ObjectValue]> {
    return this.objects.entries()
  }
}

/** What a replica's cell adds to the quantity: D − (W − C). Grants move rights, not items. */
export function counterContribution(value: CounterValue): number | bigint {
  const standing = subtractQuantities(value.withdrawn, value.compensated)
  return subtractQuantities(value.deposited, standing)
}

export function addToCounter(
  value: CounterValue,
  change: { readonly deposited: number | bigint; readonly withdrawn: number | bigint },
): CounterValue {
  return {
    ...value,
    deposited: addQuantities(value.deposited, change.deposited),
    withdrawn: addQuantities(value.withdrawn, change.withdrawn),
  }
}
