import type { CellWatcher } from '../crdt/cell-watchers.js'
import type { Partition, ReplicaState } from '../crdt/partition.js'
import type { ReplicaId } from '../sync/identity.js'

/** Parts into which a replica's cells are divided, by the hash of their entry, to find what differs. */
export const AUDIT_BUCKETS = 256
/** Positions of one replica whose sum is remembered: about as long as a flooding writer takes a second for. */
export const MAX_SUMS_REMEMBERED = 1024

/** What a partition holds of one replica: everything up to `known`, with the sum of its cells' hashes. */
export interface ReplicaSum {
  readonly replica: ReplicaId
  readonly known: number
  readonly sum: number
}

/**
 * Adds up the hashes of all cells anew, replica by replica, from the cells themselves and not from the checksum
 * that is kept beside them. It goes over the rows in slices; what is written meanwhile in rows that it has passed
 * is subtracted and added, so from the end on the sums are exact at any moment, however busy the partition is.
 */
export class CellSums implements CellWatcher {
  /** Rows below have been counted. */
  private position = 0
  /** By the replica's index: the sums of the buckets, and behind them their sum. */
  private readonly sums: (Int32Array | undefined)[] = []
  /** By the replica's index: number → sum at the moment when everything up to it had been taken in. */
  private readonly history: (Map<number, number> | undefined)[] = []

  constructor(readonly partition: Partition) {
    partition.watchers.add(this)
  }

  /** It takes no more notice of the partition. */
  close(): void {
    this.partition.watchers.delete(this)
  }

  get isComplete(): boolean {
    return this.position === Number.POSITIVE_INFINITY
  }

  get cellsCounted(): number {
    return Math.min(this.position, this.partition.table.cellEntry.length)
  }

  /** Counts so many rows. */
  walk(rows: number): void {
    if (this.isComplete) return
    const { length } = this.partition.table.cellEntry
    const end = Math.min(length, this.position + rows)
    for (let row = this.position; row < end; row++) this.count(row, 1)
    this.position = end
    if (end < length) return
    this.position = Number.POSITIVE_INFINITY
    for (const state of this.partition.replicas()) this.advanced(state)
  }

  /** The replicas whose state is exact (invariant D3), at this moment. */
  current(): ReplicaSum[] {
    return this.partition
      .replicas()
      .filter(isExact)
      .map((state) => ({ replica: state.replica, known: state.known, sum: this.sumOf(state) }))
  }

  /** The sum when everything up to `known` was here; undefined when that moment has not been, or is forgotten. */
  sumAt(replica: ReplicaId, known: number): number | undefined {
    const state = this.partition.replica(replica)
    return state && this.history[state.index]?.get(known)
  }

  /** The sums of a replica's buckets at this moment; undefined unless its state is exact. */
  buckets(replica: ReplicaId): { readonly known: number; readonly sums: Int32Array } | undefined {
    const state = this.partition.replica(replica)
    if (!state || !isExact(state)) return undefined
    const sums = this.sums[state.index] ?? new Int32Array(AUDIT_BUCKETS)
    return { known: state.known, sums: sums.slice(0, AUDIT_BUCKETS) }
  }

  /** Replicas whose cells do not add up to the checksum kept beside them: something changed them in passing. */
  altered(): ReplicaId[] {
    return this.partition
      .replicas()
      .filter((state) => this.sumOf(state) !== state.checksum)
      .map(({ replica }) => replica)
  }

  leaving(row: number): void {
    if (row < this.position) this.count(row, -1)
  }

  entered(row: number): void {
    if (row < this.position) this.count(row, 1)
  }

  advanced(state: ReplicaState): void {
    if (!this.isComplete || !isExact(state)) return
    let history = this.history[state.index]
    if (!history) {
      history = new Map()
      this.history[state.index] = history
    }
    history.set(state.known, this.sumOf(state))
    if (history.size > MAX_SUMS_REMEMBERED) history.delete(history.keys().next().value!)
  }

  private sumOf({ index }: ReplicaState): number {
    return this.sums[index]?.[AUDIT_BUCKETS] ?? 0
  }

  private count(row: number, sign: 1 | -1): void {
    const { table } = this.partition
    const entry = table.entryOf(row)
    if (entry < 0) return
    const hash = sign * table.hashOf(row)
    const index = table.replicaOf(row)
    let sums = this.sums[index]
    if (!sums) {
      sums = new Int32Array(AUDIT_BUCKETS + 1)
      this.sums[index] = sums
    }
    // An element of an Int32Array wraps, as checksums do.
    sums[bucketOf(table.entryHashOf(entry))]! += hash
    sums[AUDIT_BUCKETS]! += hash
  }
}

export function bucketOf(entryHash: number): number {
  return entryHash & (AUDIT_BUCKETS - 1)
}

function isExact({ known, horizon }: ReplicaState): boolean {
  return known > 0 && known >= horizon
}
