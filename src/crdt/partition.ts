import { assertInvariant } from '../sync/errors.js'
import type { ReplicaId } from '../sync/identity.js'
import {
  type BatchSpan,
  type Cell,
  CellKind,
  type Delta,
  isCounterCell,
  type ObjectCell,
  type ObjectValue,
} from './cell.js'
import { CellTable } from './cell-table.js'
import { CellWatchers } from './cell-watchers.js'
import { compareCells } from './compare-cells.js'
import { cellBytes } from './delta-size.js'
import { MAX_DELTA_CELLS, MAX_SPAN_CELLS } from './limits.js'
import { changeAsCell, type Generation, numberingOrder, type OwnChange, OwnWrites } from './own-writes.js'
import { ReplicaLog } from './replica-log.js'
import { type Quantity, rightsByReplica } from './rights.js'

/** Where a merge ended. 'gap': refused, something before `delta.from` is missing. 'known': nothing new. */
export type MergeOutcome = 'applied' | 'known' | 'gap'

/** What is held of one replica in one partition. */
export interface ReplicaState {
  readonly replica: ReplicaId
  readonly index: number
  /** Everything numbered 1 to `known` has been seen (and, for the own replica, is durable). */
  known: number
  /** The state is exact when `known` has reached this (see `Delta.horizon`). */
  horizon: number
  readonly log: ReplicaLog
  /** Sum of the hashes of its cells, modulo 2^32; compared between servers whose vectors are equal. */
  checksum: number
  cellCount: number
}

/** Told of every entry whose visible value may have changed. Must not write to the partition. */
export type ChangeListener = (entry: number) => void

/** One flush on its way to the journal. */
export interface PreparedFlush {
  readonly generation: Generation
  /** Consecutive intervals of the own replica, to be journalled together or not at all. */
  readonly deltas: readonly Delta[]
  /** Entries in the order of the deltas' cells. */
  readonly entries: readonly number[]
}

/**
 * The replicated state of one partition (a world, or the shared one): pure, no IO, no time.
 *
 * `deltaSince` answers "what came after this vector?"; `merge` takes such answers. Merge is commutative,
 * associative and idempotent over intervals that fit (Almeida et al. 2018, delta-interval anti-entropy; van
 * Renesse et al. 2008 for the reconciliation order). Own writes enter the table only when they are durable.
 */
export class Partition {
  readonly table = new CellTable()
  readonly own = new OwnWrites(this.table)
  private readonly states: ReplicaState[] = []
  private readonly byReplica = new Map<ReplicaId, ReplicaState>()
  private self: ReplicaState | undefined
  private flying: Generation | undefined
  /** Same dot, different value, seen in merges: always a defect somewhere. */
  divergences = 0
  readonly watchers = new CellWatchers()

  constructor(
    readonly name: string,
    private readonly onChange: ChangeListener = () => undefined,
  ) {}

  /** Names the replica that this server writes as, after replay or when it takes a new incarnation. */
  writeAs(replica: ReplicaId): void {
    assertInvariant(this.flying === undefined, 'J1', 'incarnation changed during a flush')
    this.self = this.stateOf(replica)
    this.table.setSelf(this.self.index, replica)
  }

  get ownReplica(): ReplicaState {
    assertInvariant(this.self !== undefined, 'J1', 'no own replica yet')
    return this.self
  }

  replica(replica: ReplicaId): ReplicaState | undefined {
    return this.byReplica.get(replica)
  }

  replicas(): readonly ReplicaState[] {
    return this.states
  }

  known(replica: ReplicaId): number {
    return this.byReplica.get(replica)?.known ?? 0
  }

  replicaAt(index: number): ReplicaId {
    return this.states[index]!.replica
  }

  /**
   * The writes of `replica` above `from`, cut after about `maxBytes` at any cell that does not end inside a
   * batch (and never before the first); undefined when there are none. Costs only what it returns.
   */
  deltaSince(replica: ReplicaId, from: number, maxBytes: number, repair = false): Delta | undefined {
    const state = this.byReplica.get(replica)
    if (!state || state.known <= from) return undefined
    const cells: Cell[] = []
    const batches: BatchSpan[] = []
    let bytes = 0
    let to = state.known
    let last = from
    let batchEnd = 0
    state.log.forEachAfter(from, (number, row) => {
      if (number > batchEnd && cells.length > 0 && (bytes >= maxBytes || cells.length >= DELTA_CELLS)) {
        to = Math.max(last, batchEnd)
        return false
      }
      assertInvariant(number <= state.known, 'D1', `${replica} holds write ${number} above ${state.known}`)
      const cell = this.table.export(row)
      bytes += cellBytes(cell)
      cells.push(cell)
      last = number
      const rest = this.table.batchRestOf(row)
      if (rest > 0 && number > batchEnd) {
        batchEnd = number + rest
        batches.push([number, batchEnd])
      }
      return true
    })
    const horizon = Math.max(state.horizon, state.known)
    const delta = { partition: this.name, replica, from, to, horizon, repair, cells }
    return batches.length > 0 ? { ...delta, batches } : delta
  }

  /**
   * Takes a delta whole or refuses it whole (invariant D2). Never given the own replica's writes except during
   * replay: the caller compares those numbers instead (invariant I1).
   */
  merge(delta: Delta): MergeOutcome {
    const state = this.stateOf(delta.replica)
    assertInvariant(state !== this.self, 'I1', `own writes ${delta.replica} came from outside`)
    if (delta.from > state.known) return 'gap'
    if (delta.to <= state.known && !delta.repair) return 'known'
    const restAt = batchRests(delta.batches)
    for (const cell of delta.cells) {
      // Seen before; if it is not here any more it has expired, and must not come back.
      if (cell.number <= state.known && !delta.repair) continue
      const entry = this.table.entry(this.table.namespace(cell.kind, cell.namespace), cell.key)
      if (this.apply(state, entry, cell, restAt(cell.number))) this.onChange(entry)
    }
    state.known = Math.max(state.known, delta.to)
    state.horizon = Math.max(state.horizon, delta.horizon, delta.to)
    this.watchers.advanced(state)
    return 'applied'
  }

  /** Rights of every replica as the merged state has them; the own ones with own writes under way. */
  rightsOf(entry: number): Map<ReplicaId, Quantity> {
    const cells = [...this.table.cellsOf(entry)].map((cell) => ({
      replica: this.replicaAt(this.table.replicaOf(cell)),
      value: this.table.counterValue(cell),
    }))
    const rights = rightsByReplica(cells)
    if (this.self) rights.set(this.self.replica, this.own.rights(entry))
    return rights
  }

  /** Own writes that are not in the table yet, but for those that were taken without a number. */
  generationsUnderWay(): readonly Generation[] {
    return this.flying ? [this.flying, ...this.own.generations()] : this.own.generations()
  }

  /** Numbers the oldest generation of own writes and hands it over for the journal. One flush at a time. */
  prepareFlush(maxBytes: number): PreparedFlush | undefined {
    assertInvariant(this.flying === undefined, 'J1', 'a second flush before the first one ended')
    if (this.own.isEmpty) return undefined
    const self = this.ownReplica
    const generation = this.own.take()
    const { name: partition } = this
    const { replica } = self
    const deltas: Delta[] = []
    const entries: number[] = []
    let from = self.known
    let number = from
    let cells: Cell[] = []
    let batches: BatchSpan[] = []
    let bytes = 0
    const cut = () => {
      const delta = { partition, replica, from, to: number, horizon: number, repair: false, cells }
      deltas.push(batches.length > 0 ? { ...delta, batches } : delta)
      from = number
      cells = []
      batches = []
      bytes = 0
    }
    let batchEnd = 0
    for (const change of numberingOrder(generation)) {
      if (number >= batchEnd && (bytes >= maxBytes || cells.length >= DELTA_CELLS)) cut()
      number += 1
      const spanCells = change.span?.members.length ?? 1
      if (number > batchEnd && spanCells > 1) {
        batchEnd = number + spanCells - 1
        batches.push([number, batchEnd])
      }
      const cell = this.numbered(change, number)
      entries.push(change.entry)
      cells.push(cell)
      bytes += cellBytes(cell)
    }
    cut()
    this.flying = generation
    return { generation, deltas, entries }
  }

  /** The flush is durable: its writes become part of the state that others may see. */
  completeFlush(flush: PreparedFlush): void {
    assertInvariant(this.flying === flush.generation, 'J1', 'an unknown flush was completed')
    const self = this.ownReplica
    let position = 0
    for (const delta of flush.deltas) {
      const restAt = batchRests(delta.batches)
      for (const cell of delta.cells) this.apply(self, flush.entries[position++]!, cell, restAt(cell.number))
      self.known = delta.to
      self.horizon = Math.max(self.horizon, delta.to)
      this.watchers.advanced(self)
    }
    this.own.settled(flush.generation)
    this.flying = undefined
  }

  /**
   * Hands the oldest generation over without numbering it (see src/node: a restart before first contact).
   * Neighbouring cells that share a number other than 0 are of one batch.
   */
  takeUnnumbered(): { generation: Generation; cells: Cell[] } | undefined {
    if (this.own.isEmpty) return undefined
    const generation = this.own.take()
    let batch = 0
    const cells = numberingOrder(generation).map((change) => {
      if (change.span?.members[0] === change) batch += 1
      return changeAsCell(this.table, change, change.span ? batch : 0)
    })
    return { generation, cells }
  }

  /** Unnumbered writes of an earlier run turn out to have been numbered, and to have come back from peers. */
  forgetUnnumbered(generation: Generation): void {
    this.own.forget(generation)
    for (const { entry } of generation) {
      const { kind } = this.table.namespaceOf(entry)
      if (kind === CellKind.counter || kind === CellKind.provisional) this.onChange(entry)
    }
  }

  /** Takes back, at a restart, what an earlier run had journalled without a number. */
  readoptUnnumbered(cells: readonly Cell[]): void {
    for (let first = 0; first < cells.length; ) {
      const { number } = cells[first]!
      let end = first + 1
      while (number !== 0 && end < cells.length && cells[end]!.number === number) end += 1
      const run = cells.slice(first, end)
      first = end
      this.own.readopt(
        run.map((cell) => this.table.entry(this.table.namespace(cell.kind, cell.namespace), cell.key)),
        run,
      )
    }
    for (const cell of cells) {
      this.onChange(this.table.entry(this.table.namespace(cell.kind, cell.namespace), cell.key))
    }
  }

  /**
   * Forgets object cells that may be forgotten (`CellTable.keepUntilMs`), once every cell of their entry may: a
   * younger value that expired must not bring an older one back. Returns how many went.
   *
   * A write of another replica that is still on its way meanwhile would find the entry empty, so give a time
   * that lies back by as long as servers may be cut off from each other.
   */
  removeExpired(nowMs: number): number {
    const expired: number[] = []
    for (const [cell] of this.table.objectCells()) {
      const entry = this.table.entryOf(cell)
      if (isPast(this.table.keepUntilMs(cell), nowMs) && this.wholeEntryPast(entry, nowMs)) expired.push(cell)
    }
    for (const cell of expired) {
      const state = this.states[this.table.replicaOf(cell)]!
      const number = this.table.numberOf(cell)
      state.checksum = (state.checksum - this.table.hashOf(cell)) | 0
      this.watchers.leaving(cell)
      state.cellCount -= 1
      this.table.removeCell(cell)
      state.log.markStale(number)
    }
    return expired.length
  }

  private wholeEntryPast(entry: number, nowMs: number): boolean {
    if (this.own.pendingObject(entry)) return false
    for (const cell of this.table.cellsOf(entry)) {
      if (!isPast(this.table.keepUntilMs(cell), nowMs)) return false
    }
    return true
  }

  /** Brings in one cell under its entry. Returns false when what is here is newer. */
  private apply(state: ReplicaState, entry: number, cell: Cell, batchRest: number): boolean {
    const { table } = this
    const isOwn = state === this.self
    let row = table.findCell(entry, state.index)
    let previous = 0
    if (row < 0) {
      row = table.addCell(entry, state.index, isOwn)
      state.cellCount += 1
    } else {
      previous = table.numberOf(row)
      if (previous > cell.number) return false
      if (previous === cell.number && !this.divergesUpwards(row, cell)) return false
      state.checksum = (state.checksum - table.hashOf(row)) | 0
      this.watchers.leaving(row)
    }
    if (!isCounterCell(cell)) table.setObject(row, cell.number, cell.value, cell.keepUntilMs)
    else if (isOwn) table.setCounter(row, cell.number, cell.value)
    else table.mergeCounter(row, cell.number, cell.value)
    table.setBatchRest(row, batchRest)
    state.checksum = (state.checksum + table.hashOf(row)) | 0
    this.watchers.entered(row)
    if (previous === cell.number) return true
    if (previous > 0) state.log.markStale(previous)
    if (cell.number > state.log.lastNumber) state.log.append(cell.number, row)
    else state.log.insert(cell.number, row)
    return true
  }

  /** Same dot: equal, unless there is a defect; then the greater one wins everywhere, so that all converge. */
  private divergesUpwards(row: number, cell: Cell): boolean {
    const order = compareCells(cell, this.table.export(row))
    if (order !== 0) this.divergences += 1
    return order > 0
  }

  /** An own change as the cell that it makes of the durable one. */
  private numbered(change: OwnChange, number: number): Cell {
    const { table } = this
    const row = table.findCell(change.entry, this.ownReplica.index)
    if (row < 0) return changeAsCell(table, change, number)
    const { kind, name: namespace } = table.namespaceOf(change.entry)
    const key = table.keyOf(change.entry)
    if (kind === CellKind.counter) {
      return { kind: CellKind.counter, number, namespace, key, value: table.counterPlus(row, change) }
    }
    const cell: ObjectCell = { kind, number, namespace, key, value: change.object! }
    // Whoever misses this value would otherwise show the one before it for ever.
    const before = table.keepUntilMs(row)
    const expires = cell.value[0]
    return expires !== 0 && (before === 0 || before > expires) ? { ...cell, keepUntilMs: before } : cell
  }

  private stateOf(replica: ReplicaId): ReplicaState {
    let state = this.byReplica.get(replica)
    if (!state) {
      const index = this.states.length
      const isLive = (row: number, number: number) =>
        this.table.numberOf(row) === number && this.table.replicaOf(row) === index
      state = { replica, index, known: 0, horizon: 0, log: new ReplicaLog(isLive), checksum: 0, cellCount: 0 }
      this.states.push(state)
      this.byReplica.set(replica, state)
    }
    return state
  }
}

/** Cells in one delta, with room for a batch in excess. */
const DELTA_CELLS = MAX_DELTA_CELLS - MAX_SPAN_CELLS

/** Tells for ascending numbers how many of the following ones belong to the same batch. */
function batchRests(batches: readonly BatchSpan[] | undefined): (number: number) => number {
  if (batches === undefined) return () => 0
  let position = 0
  return (number) => {
    while (position < batches.length && batches[position]![1] < number) position += 1
    const batch = batches[position]
    return batch && batch[0] <= number ? batch[1] - number : 0
  }
}

function isPast(timeMs: number, nowMs: number): boolean {
  return timeMs !== 0 && timeMs <= nowMs
}

export function isExpired(value: ObjectValue, nowMs: number): boolean {
  return value[0] !== 0 && value[0] <= nowMs
}
