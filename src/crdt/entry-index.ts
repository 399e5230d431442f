import { hashString } from '../sync/hash.js'
import type { Int32Column } from './column.js'
import { RecentBudget, RecentKeys } from './recent-keys.js'

/** What the index asks of the table that holds the entries. */
export interface EntryRows {
  keyOf(entry: number): string
  /** Whether that is its key, sooner told than the key itself. */
  entryHasKey(entry: number, key: string): boolean
  /** The hash that `add` was given. */
  entryHashOf(entry: number): number
  /** A cell per entry for the index to keep its place in; nobody else uses it. */
  readonly entryPosition: Int32Column
}

const MIN_SLOTS = 8
const EMPTY = 0
const REMOVED = -1
/** Old slots moved with each addition: the old table is empty long before the new one is full. */
const MOVES_PER_ADDITION = 8

/**
 * Key → entry: a hash table with linear probing over the keys that the table holds anyway. Unlike a `Map` it
 * grows a few slots at a time (a `Map` of a million keys stands still for a tenth of a second when it doubles),
 * keeps no pointers for the garbage collector to follow, and takes a third of the memory.
 */
export class EntryIndex implements Iterable<[string, number]> {
  /** Entry + 1, or EMPTY, or REMOVED. Never more than three fifths in use. */
  private slots: Int32Array = new Int32Array(MIN_SLOTS)
  /** Slots of `slots` that are not EMPTY. */
  private used = 0
  /** The slots before the last growth, while entries are still in them. */
  private old: Int32Array | undefined
  /** Slots of `old` that have been moved. */
  private moved = 0
  /** All entries, in the order in which they came as long as none is removed. */
  private members: Int32Array = new Int32Array(MIN_SLOTS)
  size = 0
  private readonly recent: RecentKeys
  private readonly keyOf: (entry: number) => string

  constructor(
    private readonly rows: EntryRows,
    private readonly seed: number,
    budget = new RecentBudget(),
  ) {
    this.recent = new RecentKeys(budget)
    this.keyOf = (entry) => rows.keyOf(entry)
  }

  /** The hash under which a key belongs here. */
  hashOf(key: string): number {
    return hashString(this.seed, key)
  }

  get(key: string): number | undefined {
    const known = this.recent.get(key)
    if (known !== undefined) return known
    const entry = this.find(key, hashString(this.seed, key))
    if (entry !== undefined) this.recent.found(entry, this.keyOf)
    return entry
  }

  has(key: string): boolean {
    return this.get(key) !== undefined
  }

  find(key: string, hash: number): number | undefined {
    const slot = this.slotOf(this.slots, key, hash)
    if (slot >= 0) return this.slots[slot]! - 1
    if (this.old === undefined) return undefined
    const oldSlot = this.slotOf(this.old, key, hash)
    return oldSlot < 0 ? undefined : this.old[oldSlot]! - 1
  }

  /** Adds an entry whose key is not here; its row must be complete. */
  add(entry: number, hash: number): void {
    if ((this.used + 1) * 5 > this.slots.length * 3) this.grow()
    this.place(entry, hash)
    this.moveSome(MOVES_PER_ADDITION)
    if (this.size === this.members.length) {
      const larger = new Int32Array(2 * this.size)
      larger.set(this.members)
      this.members = larger
    }
    this.members[this.size] = entry
    this.rows.entryPosition.set(entry, this.size++)
  }

  /** Removes an entry; call before its row changes. */
  remove(entry: number): void {
    const key = this.rows.keyOf(entry)
    this.recent.forget(key)
    const hash = this.rows.entryHashOf(entry)
    for (const slots of this.old === undefined ? [this.slots] : [this.slots, this.old]) {
      const slot = this.slotOf(slots, key, hash)
      if (slot >= 0) slots[slot] = REMOVED
    }
    const last = this.members[--this.size]!
    const position = this.rows.entryPosition.get(entry)
    this.members[position] = last
    this.rows.entryPosition.set(last, position)
  }

  *values(): IterableIterator<number> {
    for (let position = 0; position < this.size; position++) yield this.members[position]!
  }

  *[Symbol.iterator](): IterableIterator<[string, number]> {
    for (const entry of this.values()) yield [this.rows.keyOf(entry), entry]
  }

  private slotOf(slots: Int32Array, key: string, hash: number): number {
    const mask = slots.length - 1
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const value = slots[slot]!
      if (value === EMPTY) return -1
      if (value > 0 && this.rows.entryHashOf(value - 1) === hash && this.rows.entryHasKey(value - 1, key)) {
        return slot
      }
    }
  }

  private place(entry: number, hash: number): void {
    const { slots } = this
    const mask = slots.length - 1
    let slot = hash & mask
    while (slots[slot]! !== EMPTY) slot = (slot + 1) & mask
    slots[slot] = entry + 1
    this.used += 1
  }

  private grow(): void {
    this.moveSome(Number.POSITIVE_INFINITY)
    // Full of removed ones rather than of entries: the same size will do.
    const length = this.size * 10 > this.slots.length * 3 ? this.slots.length * 2 : this.slots.length
    this.old = this.slots
    this.moved = 0
    this.slots = new Int32Array(length)
    this.used = 0
  }

  private moveSome(count: number): void {
    const { old } = this
    if (old === undefined) return
    const end = Math.min(old.length, this.moved + count)
    for (; this.moved < end; this.moved++) {
      const value = old[this.moved]!
      if (value <= 0) continue
      // Marked, not emptied: others may have been placed behind it.
      old[this.moved] = REMOVED
      this.place(value - 1, this.rows.entryHashOf(value - 1))
    }
    if (end === old.length) this.old = undefined
  }
}
