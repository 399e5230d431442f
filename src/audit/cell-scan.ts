import type { Partition } from '../crdt/partition.js'
import type { ReplicaId } from '../sync/identity.js'
import { bucketOf } from './cell-sums.js'

/** Cells that are listed to find what differs. What is beyond is not looked at: a mismatch is a defect, and rare. */
export const MAX_CELLS_LISTED = 8192

/** One cell of a replica. Equal numbers with unequal hashes: the same write, told differently. */
export interface ListedCell {
  readonly kind: number
  readonly namespace: string
  readonly key: string
  readonly number: number
  readonly hash: number
}

/** Lists the cells of a replica in some buckets, in slices. */
export class CellScan {
  /** Whatever was numbered up to here is in the list, or was overwritten by something later that is. */
  readonly known: number
  readonly cells: ListedCell[] = []
  /** The list is full: what is not in it may be there all the same. */
  isTruncated = false
  private position = 0
  /** Rows that were there at the beginning: later ones hold later writes. */
  private readonly end: number
  private readonly index: number | undefined
  private readonly wanted: ReadonlySet<number>

  constructor(
    private readonly partition: Partition,
    private readonly replica: ReplicaId,
    buckets: readonly number[],
  ) {
    const state = partition.replica(replica)
    this.known = state && state.known >= state.horizon ? state.known : 0
    this.index = state?.index
    this.end = partition.table.cellEntry.length
    this.wanted = new Set(buckets)
  }

  isOf(partition: Partition, replica: ReplicaId, buckets: readonly number[]): boolean {
    if (partition !== this.partition || replica !== this.replica || buckets.length !== this.wanted.size)
      return false
    return buckets.every((bucket) => this.wanted.has(bucket))
  }

  get isComplete(): boolean {
    return this.isTruncated || this.index === undefined || this.position >= this.end
  }

  work(rows: number): void {
    const { table } = this.partition
    const end = Math.min(this.end, this.position + rows)
    for (; this.position < end && !this.isComplete; this.position++) {
      const row = this.position
      const entry = table.entryOf(row)
      if (entry < 0 || table.replicaOf(row) !== this.index) continue
      if (!this.wanted.has(bucketOf(table.entryHashOf(entry)))) continue
      const hash = table.hashOf(row)
      // Expiring cells count nothing in checksums.
      if (hash === 0) continue
      if (this.cells.length === MAX_CELLS_LISTED) {
        this.isTruncated = true
        return
      }
      const { kind, name: namespace } = table.namespaceOf(entry)
      const key = table.keyOf(entry)
      this.cells.push({ kind, namespace, key, number: table.numberOf(row), hash })
    }
  }
}

/**
 * The cells in which two servers differ for certain, whatever has moved between the two lists: those that tell
 * one write differently, and those that one has up to where the other knows everything and the other has not.
 */
export function differingCells(ours: CellList, theirs: CellList): ListedCell[] {
  const found: ListedCell[] = []
  const left = byEntry(ours)
  const right = byEntry(theirs)
  for (const [entry, cell] of left) {
    const other = right.get(entry)
    if (other ? other.number === cell.number && other.hash !== cell.hash : isMissing(cell, theirs))
      found.push(cell)
    else if (other && isOlder(other, cell, theirs)) found.push(cell)
    else if (other && isOlder(cell, other, ours)) found.push(other)
  }
  for (const [entry, cell] of right) if (!left.has(entry) && isMissing(cell, ours)) found.push(cell)
  return found
}

export interface CellList {
  readonly known: number
  readonly isTruncated: boolean
  readonly cells: readonly ListedCell[]
}

function isMissing({ number }: ListedCell, elsewhere: CellList): boolean {
  return !elsewhere.isTruncated && number <= elsewhere.known
}

/** `cell` is of a list that should have had `newer`. */
function isOlder(cell: ListedCell, newer: ListedCell, list: CellList): boolean {
  return cell.number < newer.number && newer.number <= list.known
}

function byEntry({ cells }: CellList): Map<string, ListedCell> {
  return new Map(cells.map((cell) => [`${cell.kind}:${cell.namespace}\n${cell.key}`, cell]))
}
