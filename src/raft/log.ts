import { assertInvariant } from '../sync/errors.js'
import { RAFT_INVARIANTS } from './invariants.js'
import { type Entry, entryBytes, type HardState, type SnapshotMetadata } from './types.js'

/**
 * The log in memory: everything after the compaction point, with marks for what was handed to the host's
 * disk, what is durable, committed and applied. Always: base <= applied <= committed <= last, and applied <=
 * persisted, so a snapshot of the applied state never runs ahead of the log on disk.
 */
export class RaftLog {
  #baseIndex: number
  #baseTerm: number
  #entries: Entry[] = []
  #bytes = 0
  #uncommittedBytes = 0
  #committed: number
  #applied: number
  #persisted: number
  /** Last index that some `Ready` has carried to the disk. */
  #handed: number
  /** Batches on their way to the disk, oldest first; shortened when their tail is overwritten meanwhile. */
  #inFlight: { readonly sequence: number; lastIndex: number }[] = []

  constructor(base: SnapshotMetadata, entries: readonly Entry[], hardState: HardState) {
    this.#baseIndex = base.index
    this.#baseTerm = base.term
    this.#applied = base.index
    this.#committed = base.index
    this.append(entries)
    this.#persisted = this.lastIndex
    this.#handed = this.lastIndex
    assertInvariant(
      hardState.commit <= this.lastIndex,
      RAFT_INVARIANTS.commitWithinLog,
      'the restored log ends before its commit index',
    )
    this.commitTo(hardState.commit)
  }

  /** Index and term of the entry before the first one kept. */
  get baseIndex(): number {
    return this.#baseIndex
  }
  get firstIndex(): number {
    return this.#baseIndex + 1
  }
  get lastIndex(): number {
    return this.#baseIndex + this.#entries.length
  }
  get lastTerm(): number {
    return this.#entries.length > 0 ? this.#entries[this.#entries.length - 1]!.term : this.#baseTerm
  }
  get committed(): number {
    return this.#committed
  }
  /** Last index handed to the host in `Ready.committed`. */
  get applied(): number {
    return this.#applied
  }
  get persisted(): number {
    return this.#persisted
  }
  get bytes(): number {
    return this.#bytes
  }
  get uncommittedBytes(): number {
    return this.#uncommittedBytes
  }

  /** Undefined when the entry is compacted or does not exist. */
  termAt(index: number): number | undefined {
    if (index === this.#baseIndex) return this.#baseTerm
    return this.#entries[index - this.#baseIndex - 1]?.term
  }

  matches(index: number, term: number): boolean {
    return this.termAt(index) === term
  }

  /** Whether a log that ends at (index, term) holds everything that this one holds (Raft paper 5.4.1). */
  isUpToDate(lastIndex: number, lastTerm: number): boolean {
    return lastTerm > this.lastTerm || (lastTerm === this.lastTerm && lastIndex >= this.lastIndex)
  }

  append(entries: readonly Entry[]): void {
    for (const entry of entries) {
      assertInvariant(
        entry.index === this.lastIndex + 1,
        RAFT_INVARIANTS.noGap,
        `entry ${entry.index} leaves a gap in the log`,
      )
      this.#entries.push(entry)
      const bytes = entryBytes(entry)
      this.#bytes += bytes
      this.#uncommittedBytes += bytes
    }
  }

  /**
   * Takes entries from the leader that follow (previousIndex, previousTerm). Undefined when that place does
   * not match; else what was added and, when a conflicting tail had to go, where it began.
   */
  accept(previousIndex: number, previousTerm: number, entries: readonly Entry[]): Accepted | undefined {
    if (!this.matches(previousIndex, previousTerm)) return undefined
    let known = 0
    while (known < entries.length && this.matches(entries[known]!.index, entries[known]!.term)) known += 1
    const added = known === 0 ? entries : entries.slice(known)
    let truncatedFrom: number | undefined
    if (added.length > 0 && added[0]!.index <= this.lastIndex) {
      truncatedFrom = added[0]!.index
      this.#truncateFrom(truncatedFrom)
    }
    this.append(added)
    return { added, truncatedFrom, lastNewIndex: previousIndex + entries.length }
  }

  #truncateFrom(index: number): void {
    assertInvariant(
      index > this.#committed,
      RAFT_INVARIANTS.committedStays,
      `committed entry ${index} would be overwritten`,
    )
    for (const entry of this.#entries.splice(index - this.#baseIndex - 1)) {
      this.#bytes -= entryBytes(entry)
      this.#uncommittedBytes -= entryBytes(entry)
    }
    // What was on its way to the disk or already there will be overwritten: it no longer counts as durable.
    this.#handed = Math.min(this.#handed, index - 1)
    this.#persisted = Math.min(this.#persisted, index - 1)
    for (const batch of this.#inFlight) batch.lastIndex = Math.min(batch.lastIndex, index - 1)
  }

  /** From `from` on, within both bounds, but at least one entry if there is one. */
  slice(from: number, maxEntries: number, maxBytes: number, through = this.lastIndex): Entry[] {
    const start = from - this.#baseIndex - 1
    const limit = Math.min(through - this.#baseIndex, start + maxEntries)
    let end = start
    let bytes = 0
    while (end < limit) {
      bytes += entryBytes(this.#entries[end]!)
      if (bytes > maxBytes && end > start) break
      end += 1
    }
    return this.#entries.slice(start, end)
  }

  commitTo(index: number): boolean {
    if (index <= this.#committed) return false
    assertInvariant(
      index <= this.lastIndex,
      RAFT_INVARIANTS.commitWithinLog,
      `commit ${index} beyond the log's end ${this.lastIndex}: entries lost`,
    )
    for (let at = this.#committed + 1; at <= index; at++) {
      this.#uncommittedBytes -= entryBytes(this.#entries[at - this.#baseIndex - 1]!)
    }
    this.#committed = index
    return true
  }

  /** Entries that no `Ready` has carried to the disk yet, as the batch `sequence`. */
  takeUnpersisted(sequence: number): Entry[] {
    if (this.#handed >= this.lastIndex) return []
    const entries = this.#entries.slice(this.#handed - this.#baseIndex)
    this.#handed = this.lastIndex
    this.#inFlight.push({ sequence, lastIndex: this.lastIndex })
    return entries
  }

  /** Everything up to batch `sequence` is durable. */
  persistedThrough(sequence: number): void {
    while (this.#inFlight.length > 0 && this.#inFlight[0]!.sequence <= sequence) {
      this.#persisted = Math.max(this.#persisted, this.#inFlight.shift()!.lastIndex)
    }
  }

  /** Next committed and durable entries, which count as applied from here on. */
  takeCommitted(maxBytes: number): Entry[] {
    const through = Math.min(this.#committed, this.#persisted)
    if (this.#applied >= through) return []
    const entries = this.slice(this.#applied + 1, Number.MAX_SAFE_INTEGER, maxBytes, through)
    this.#applied += entries.length
    return entries
  }

  /** Drops entries up to `index`, which must be applied. */
  compactTo(index: number): void {
    if (index <= this.#baseIndex) return
    assertInvariant(
      index <= this.#applied,
      RAFT_INVARIANTS.compactedApplied,
      `entry ${index} is compacted before it is applied`,
    )
    this.#baseTerm = this.termAt(index)!
    for (const entry of this.#entries.splice(0, index - this.#baseIndex)) this.#bytes -= entryBytes(entry)
    this.#baseIndex = index
  }

  /** The whole log gives way to a snapshot. */
  restore(snapshot: SnapshotMetadata): void {
    assertInvariant(
      snapshot.index > this.#committed,
      RAFT_INVARIANTS.committedStays,
      `snapshot ${snapshot.index} is behind the commit index`,
    )
    this.#entries = []
    this.#bytes = 0
    this.#uncommittedBytes = 0
    this.#inFlight = []
    this.#baseTerm = snapshot.term
    this.#baseIndex = snapshot.index
    this.#committed = snapshot.index
    this.#applied = snapshot.index
    this.#persisted = snapshot.index
    this.#handed = snapshot.index
  }

  /**
   * The highest place at or below `index` whose term is at or below `term`: where a log that has `term` at
   * `index` may agree with this one. Skips whole terms per round trip (Raft paper 5.3, end).
   */
  findConflict(index: number, term: number): { readonly index: number; readonly term: number } {
    let at = Math.min(index, this.lastIndex)
    while (at > this.#baseIndex && this.termAt(at)! > term) at -= 1
    return { index: at, term: this.termAt(at) ?? 0 }
  }
}

export interface Accepted {
  readonly added: readonly Entry[]
  readonly truncatedFrom: number | undefined
  /** Last index that the message covered: as far as the follower may trust the leader's commit index. */
  readonly lastNewIndex: number
}
