import { CellKind } from '../crdt/cell.js'
import type { Partition } from '../crdt/partition.js'
import type { ReplicaId } from '../sync/identity.js'
import { CellScan } from './cell-scan.js'
import { CellSums, type ReplicaSum } from './cell-sums.js'
import { type AuditSources, ItemAuditor, type ItemSums, judgeItem } from './item-sums.js'

/** Items that do not fit, of each sort, that are named; more are counted. */
export const MAX_ITEMS_NAMED = 20

/** A replica in a partition. */
export interface Place {
  readonly partition: string
  readonly replica: ReplicaId
}

/** What a server finds in its own books. */
export interface OwnVerdict {
  readonly items: number
  readonly wrongCount: number
  readonly wrong: readonly ItemSums[]
  readonly overdrawnCount: number
  readonly overdrawn: readonly ItemSums[]
  /** Replicas whose cells are not what their checksum says. */
  readonly altered: readonly Place[]
}

/**
 * One server's look at itself, from beginning to end in slices: whether the sums of its items fit, and what the
 * hashes of its cells add up to. Close it, or it follows the partitions for ever.
 */
export class Survey {
  private readonly sums: ReadonlyMap<string, CellSums>
  private readonly entries: IterableIterator<[Partition, number]>
  private itemsDone = false
  private items = 0
  private wrongCount = 0
  private readonly wrong: ItemSums[] = []
  /** Items that have been overdrawn whenever they were looked at. */
  private readonly overdrawn = new Map<Partition, Set<number>>()
  private overdrawnCount = 0
  private scan: CellScan | undefined

  constructor(private readonly sources: AuditSources) {
    const { partitions } = sources
    this.sums = new Map([...partitions].map(([name, partition]) => [name, new CellSums(partition)]))
    this.entries = counterEntries(partitions.values())
  }

  close(): void {
    for (const sums of this.sums.values()) sums.close()
  }

  /** Everything has been looked at once; the sums are exact from now on. */
  get isComplete(): boolean {
    return this.itemsDone
  }

  /** How many cells and items have been looked at, of about how many. */
  get progress(): { readonly done: number; readonly total: number } {
    let done = this.items
    let total = 0
    for (const sums of this.sums.values()) {
      const { table } = sums.partition
      done += sums.cellsCounted
      total += table.cellEntry.length + table.entryCount
    }
    return { done, total }
  }

  /** Looks at so many cells or items. Returns whether there is more to do. */
  work(rows: number): boolean {
    for (const sums of this.sums.values()) {
      if (sums.isComplete) continue
      sums.walk(rows)
      return true
    }
    if (!this.itemsDone) this.lookAtItems(rows)
    else this.scan?.work(rows)
    return !this.itemsDone || this.scan?.isComplete === false
  }

  /** Per partition that this server hosts. */
  currentSums(): ReadonlyMap<string, readonly ReplicaSum[]> {
    return new Map([...this.sums].map(([name, sums]) => [name, sums.current()]))
  }

  /** Per partition the replicas of which anything is known or missing here. */
  *replicas(): IterableIterator<[partition: string, replicas: ReplicaId[]]> {
    for (const [name, { partition }] of this.sums) {
      const states = partition.replicas().filter(({ horizon }) => horizon > 0)
      yield [name, states.map(({ replica }) => replica)]
    }
  }

  sumsOf(partition: string): CellSums | undefined {
    return this.sums.get(partition)
  }

  /** Begins to list the cells of some buckets; `work` goes on with it. Asked for the same again, it goes on. */
  list(place: Place, buckets: readonly number[]): CellScan | undefined {
    const partition = this.sources.partitions.get(place.partition)
    if (!partition) return undefined
    if (!this.scan?.isOf(partition, place.replica, buckets))
      this.scan = new CellScan(partition, place.replica, buckets)
    return this.scan
  }

  /** Items that were overdrawn are looked at again by each call. */
  verdict(): OwnVerdict {
    const overdrawn: ItemSums[] = []
    for (const [partition, entries] of this.overdrawn) {
      const auditor = new ItemAuditor(this.sources, partition)
      for (const entry of entries) {
        const sums = auditor.look(entry)
        if (judgeItem(sums) !== 'overdrawn') {
          entries.delete(entry)
          this.overdrawnCount -= 1
        } else if (overdrawn.length < MAX_ITEMS_NAMED) overdrawn.push(sums)
      }
    }
    const altered: Place[] = []
    for (const [partition, sums] of this.sums)
      for (const replica of sums.altered()) altered.push({ partition, replica })
    const { items, overdrawnCount, wrong, wrongCount } = this
    return { items, wrongCount, wrong, overdrawnCount, overdrawn, altered }
  }

  private lookAtItems(rows: number): void {
    let auditor: ItemAuditor | undefined
    let of: Partition | undefined
    for (let looked = 0; looked < rows; looked++) {
      const next = this.entries.next()
      if (next.done) {
        this.itemsDone = true
        return
      }
      const [partition, entry] = next.value
      if (of !== partition) auditor = new ItemAuditor(this.sources, partition)
      of = partition
      this.items += 1
      if (!auditor!.fitsPlainly(entry)) this.note(auditor!.look(entry), partition, entry)
    }
  }

  private note(sums: ItemSums, partition: Partition, entry: number): void {
    const verdict = judgeItem(sums)
    if (verdict === 'wrong') {
      this.wrongCount += 1
      if (this.wrong.length < MAX_ITEMS_NAMED) this.wrong.push(sums)
    } else if (verdict === 'overdrawn') {
      this.overdrawnCount += 1
      const entries = this.overdrawn.get(partition) ?? new Set()
      if (entries.size < MAX_OVERDRAWN_FOLLOWED) this.overdrawn.set(partition, entries.add(entry))
    }
  }
}

/** Overdrawn items that are looked at again in the end, per partition. */
const MAX_OVERDRAWN_FOLLOWED = 1000

/** Every item of every storage; what is added meanwhile is visited as well. */
export function* counterEntries(partitions: Iterable<Partition>): IterableIterator<[Partition, number]> {
  for (const partition of partitions) {
    for (const { kind, entries } of partition.table.namespaces.values()) {
      if (kind !== CellKind.counter) continue
      for (const entry of entries.values()) yield [partition, entry]
    }
  }
}
