import { Float64Column } from '../crdt/column.js'
import type { Partition } from '../crdt/partition.js'
import type { Quantity } from '../crdt/rights.js'
import { ItemState } from './item-state.js'

/** Items looked at in one tick for reserves and upkeep: bounds the background traffic and the time it takes. */
const SWEEP_PER_TICK = 512
/** Items whose demand is taken over in one tick; the others go on adding up until it is their turn. */
const DEMANDS_PER_TICK = 512
/** With so many items active the demand for further ones is not followed: rights come to them when they are short. */
const MAX_FOLLOWED = 65_536

/** The items of a partition for which something is under way, or of which this server takes out. */
export class ActiveItems {
  private readonly states = new Map<number, ItemState>()
  /** What was taken out since its demand was last taken over, by entry; a backed withdrawal pays no more than this. */
  private readonly taken = new Float64Column()
  /** Entries with something in `taken`, each once: those that come, and those whose turn it is. */
  private coming: number[] = []
  private due: number[] = []
  private sweep: IterableIterator<[number, ItemState]> | undefined

  constructor(private readonly partition: Partition) {}

  get size(): number {
    return this.states.size
  }

  get(entry: number): ItemState | undefined {
    return this.states.get(entry)
  }

  has(entry: number): boolean {
    return this.states.has(entry)
  }

  /** Made when there is none. */
  of(entry: number, nowMs: number): ItemState {
    let state = this.states.get(entry)
    if (!state) {
      state = new ItemState(this.partition, entry, nowMs)
      this.states.set(entry, state)
    }
    return state
  }

  /** So many were taken out; counts as demand from the next tick on. */
  took(entry: number, amount: Quantity): void {
    const { taken } = this
    while (taken.length <= entry) taken.push(0)
    const before = taken.get(entry)
    if (before === 0) this.coming.push(entry)
    taken.set(entry, before + Number(amount))
  }

  /** Takes over demand. */
  tick(nowMs: number): void {
    for (let count = 0; count < DEMANDS_PER_TICK; count++) {
      if (this.due.length === 0) {
        if (this.coming.length === 0) return
        ;[this.due, this.coming] = [this.coming, this.due]
      }
      const entry = this.due.pop()!
      const amount = this.taken.get(entry)
      this.taken.set(entry, 0)
      const isFollowed = this.states.has(entry) || this.states.size < MAX_FOLLOWED
      if (isFollowed) this.of(entry, nowMs).demand.add(amount, nowMs)
    }
  }

  /** Goes over the items, a bounded number per call in turn; one for which `visit` returns false is forgotten. */
  visitSome(visit: (entry: number, state: ItemState) => boolean): void {
    this.sweep ??= this.states.entries()
    for (let count = 0; count < SWEEP_PER_TICK; count++) {
      const next = this.sweep.next()
      if (next.done) {
        this.sweep = undefined
        return
      }
      const [entry, state] = next.value
      if (!visit(entry, state)) this.states.delete(entry)
    }
  }
}
