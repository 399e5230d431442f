import type { ReplicaId } from '../sync/identity.js'

/**
 * What has been seen of each replica: its write numbers 1 to n without a hole. Absent means 0.
 * Entries only ever grow (invariant V1), save through `forget`.
 */
export class VersionVector {
  private readonly entries = new Map<ReplicaId, number>()

  static from(entries: Iterable<readonly [ReplicaId, number]>): VersionVector {
    const vector = new VersionVector()
    for (const [replica, number] of entries) vector.raise(replica, number)
    return vector
  }

  get(replica: ReplicaId): number {
    return this.entries.get(replica) ?? 0
  }

  /** Sets the entry when `number` is higher than what is there. Returns whether it was. */
  raise(replica: ReplicaId, number: number): boolean {
    if (number <= this.get(replica)) return false
    this.entries.set(replica, number)
    return true
  }

  /** Pointwise maximum, in place. */
  raiseAll(other: VersionVector): void {
    for (const [replica, number] of other.entries) this.raise(replica, number)
  }

  /** Whether everything that `other` has seen was seen here too. */
  covers(other: VersionVector): boolean {
    for (const [replica, number] of other.entries) if (this.get(replica) < number) return false
    return true
  }

  equals(other: VersionVector): boolean {
    return this.covers(other) && other.covers(this)
  }

  copy(): VersionVector {
    return VersionVector.from(this.entries)
  }

  get size(): number {
    return this.entries.size
  }

  [Symbol.iterator](): IterableIterator<[ReplicaId, number]> {
    return this.entries[Symbol.iterator]()
  }
}
