import { assertInvariant } from '../sync/errors.js'
import type { ReplicaId } from '../sync/identity.js'
import { type Cell, type Delta, isCounterCell, type ObjectValue } from './cell.js'
import { addToCounter, CellTable } from './cell-table.js'
import { compareCells } from './compare-cells.js'
import { cellBytes } from './delta-size.js'
import { changeAsCell, type Generation, OwnWrites } from './own-writes.js'
import { ReplicaLog } from './replica-log.js'

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

  constructor(
    readonly name: string,
    private readonly onChange: ChangeListener = () => undefined,
  ) {}

  /** Names the replica that this server writes as, after replay or when it takes a new incarnation. */
  writeAs(replica: ReplicaId): void {
    assertInvariant(this.flying === undefined, 'J1', 'incarnation changed during a flush')
    this.self = this.stateOf(replica)
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
   * The writes of `replica` above `from`, cut after about `maxBytes` at any cell; undefined when there are
   * none. Costs only what it returns.
   */
  deltaSince(replica: ReplicaId, from: number, maxBytes: number, repair = false): Delta | undefined {
    const state = this.byReplica.get(replica)
    if (!state || state.known <= from) return undefined
    const cells: Cell[] = []
    let bytes = 0
    let to = state.known
    state.log.forEachAfter(from, (number, row) => {
      if (bytes >= maxBytes) {
        to = cells.at(-1)!.number
        return false
      }
      assertInvariant(number <= state.known, 'D1', `${replica} holds write ${number} above ${state.known}`)
      const cell = this.table.export(row)
      bytes += cellBytes(cell)
      cells.push(cell)
      return true
    })
    const horizon = Math.max(state.horizon, state.known)
    return { partition: this.name, replica, from, to, horizon, repair, cells }
  }

  /**
   * Takes a delta whole or refuses it whole. Never given the own replica's writes except during replay:
   * the caller compares those numbers instead (invariant I1).
   */
  merge(delta: Delta): MergeOutcome {
    const state = this.stateOf(delta.replica)
    assertInvariant(state !== this.self, 'I1', `own writes ${delta.replica} came from outside`)
    if (delta.from > state.known) return 'gap'
    if (delta.to <= state.known && !delta.repair) return 'known'
    for (const cell of delta.cells) {
      const entry = this.apply(state, cell, true)
      if (entry >= 0) this.onChange(entry)
    }
    state.known = Math.max(state.known, delta.to)
    state.horizon = Math.max(state.horizon, delta.horizon, delta.to)
    return 'applied'
  }

  /** Numbers the open own writes and hands them over for the journal. One flush at a time. */
  prepareFlush(maxBytes: number): PreparedFlush | undefined {
    assertInvariant(this.flying === undefined, 'J1', 'a second flush before the first one ended')
    if (this.own.isEmpty) return undefined
    const self = this.ownReplica
    const generation = this.own.take()
    const deltas: Delta[] = []
    let from = self.known
    let cells: Cell[] = []
    let bytes = 0
    let number = self.known
    const cut = () => {
      deltas.push({
        partition: this.name,
        replica: self.replica,
        from,
        to: number,
        horizon: number,
        repair: false,
        cells,
      })
      from = number
      cells = []
      bytes = 0
    }
    for (const change of generation) {
      number += 1
      const cell = this.numbered(change.entry, changeAsCell(this.table, change), number)
      cells.push(cell)
      bytes += cellBytes(cell)
      if (bytes >= maxBytes) cut()
    }
    if (cells.length > 0) cut()
    this.flying = generation
    return { generation, deltas }
  }

  /** The flush is durable: its writes become part of the state that others may see. */
  completeFlush(flush: PreparedFlush): void {
    assertInvariant(this.flying === flush.generation, 'J1', 'an unknown flush was completed')
    const self = this.ownReplica
    for (const delta of flush.deltas) {
      for (const cell of delta.cells) this.apply(self, cell, false)
      self.known = delta.to
      self.horizon = Math.max(self.horizon, delta.to)
    }
    this.own.settled(flush.generation)
    this.flying = undefined
  }

  /** Hands the open own writes over without numbering them (see src/node: a restart before first contact). */
  takeUnnumbered(): { generation: Generation; cells: Cell[] } | undefined {
    if (this.own.isEmpty) return undefined
    const generation = this.own.take()
    return { generation, cells: generation.map((change) => changeAsCell(this.table, change)) }
  }

  /** Takes back, at a restart, what an earlier run had journalled without a number. */
  readoptUnnumbered(cells: readonly Cell[]): void {
    for (const cell of cells) {
      const entry = this.table.entry(this.table.namespace(cell.kind, cell.namespace), cell.key)
      if (isCounterCell(cell)) {
        if (cell.value.deposited !== 0) this.own.deposit(entry, cell.value.deposited)
        if (cell.value.withdrawn !== 0) this.own.withdraw(entry, cell.value.withdrawn)
      } else {
        this.own.setObject(entry, cell.value)
      }
      this.onChange(entry)
    }
  }

  /**
   * Forgets object cells that have expired, once every cell of their entry has: a younger value that expired
   * must not bring an older one back. Returns how many went.
   */
  removeExpired(nowMs: number): number {
    const expired: number[] = []
    for (const [cell, value] of this.table.objectCells()) {
      if (isExpired(value, nowMs) && this.wholeEntryExpired(this.table.entryOf(cell), nowMs))
        expired.push(cell)
    }
    for (const cell of expired) {
      const state = this.states[this.table.replicaOf(cell)]!
      const number = this.table.numberOf(cell)
      state.checksum = (state.checksum - this.table.hashOf(cell)) | 0
      state.cellCount -= 1
      this.table.removeCell(cell)
      state.log.markStale(number)
    }
    return expired.length
  }

  private wholeEntryExpired(entry: number, nowMs: number): boolean {
    if (this.own.pendingObject(entry)) return false
    for (const cell of this.table.cellsOf(entry)) {
      if (!isExpired(this.table.objectValue(cell), nowMs)) return false
    }
    return true
  }

  /** Brings in one cell. Returns its entry, or -1 when what is here is newer. */
  private apply(state: ReplicaState, cell: Cell, totalFollows: boolean): number {
    const entry = this.table.entry(this.table.namespace(cell.kind, cell.namespace), cell.key)
    let row = this.table.findCell(entry, state.index)
    let previous = 0
    if (row < 0) {
      row = this.table.addCell(entry, state.index, state === this.self)
      state.cellCount += 1
    } else {
      previous = this.table.numberOf(row)
      if (previous > cell.number) return -1
      if (previous === cell.number && !this.divergesUpwards(row, cell)) return -1
      state.checksum = (state.checksum - this.table.hashOf(row)) | 0
    }
    if (isCounterCell(cell)) this.table.setCounter(row, cell.number, cell.value, totalFollows)
    else this.table.setObject(row, cell.number, cell.value)
    state.checksum = (state.checksum + this.table.hashOf(row)) | 0
    if (previous === cell.number) return entry
    if (previous > 0) state.log.markStale(previous)
    if (cell.number > state.log.lastNumber) state.log.append(cell.number, row)
    else state.log.insert(cell.number, row)
    return entry
  }

  /** Same dot: equal, unless there is a defect; then the greater one wins everywhere, so that all converge. */
  private divergesUpwards(row: number, cell: Cell): boolean {
    const order = compareCells(cell, this.table.export(row))
    if (order !== 0) this.divergences += 1
    return order > 0
  }

  private numbered(entry: number, change: Cell, number: number): Cell {
    if (!isCounterCell(change)) return { ...change, number }
    const row = this.table.findCell(entry, this.ownReplica.index)
    const value = row < 0 ? change.value : addToCounter(this.table.counterValue(row), change.value)
    return { ...change, number, value }
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

export function isExpired(value: ObjectValue, nowMs: number): boolean {
  return value[0] !== 0 && value[0] <= nowMs
}
