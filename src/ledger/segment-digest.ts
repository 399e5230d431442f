import { hashString } from '../sync/hash.js'
import type { LedgerEntry, LedgerFilter } from './entry.js'

/** Bits of the filter: 16 KiB for each file. With 5,000 names in a file about one in a hundred others passes too. */
const FILTER_BITS = 1 << 17
const HASHES = 4

/**
 * What can be told of a whole file of the ledger without reading it: that no entry in it passes a filter. The names
 * in its lines are in a Bloom filter (Bloom 1970, with two hashes for all as Kirsch and Mitzenmacher 2006), which
 * errs only towards reading.
 */
export class SegmentDigest {
  private latestMs = Number.NEGATIVE_INFINITY
  private hasGaps = false
  private readonly bits = new Uint32Array(FILTER_BITS / 32)

  add(entry: LedgerEntry): void {
    this.latestMs = Math.max(this.latestMs, entry.timeMs)
    if (entry.type === 'gap') {
      this.hasGaps = true
      return
    }
    this.put('item', entry.item)
    this.put('storage', entry.storage)
    if (entry.by !== undefined) this.put('by', entry.by)
  }

  /** False: certainly none passes. */
  mayHold({ item, storage, by, sinceMs }: LedgerFilter): boolean {
    if (sinceMs !== undefined && this.latestMs < sinceMs) return false
    // Gaps are shown whatever is asked for.
    if (this.hasGaps) return true
    return this.has('item', item) && this.has('storage', storage) && this.has('by', by)
  }

  private put(field: string, name: string): void {
    for (const bit of bitsOf(field, name)) this.bits[bit >>> 5]! |= 1 << (bit & 31)
  }

  private has(field: string, name: string | undefined): boolean {
    if (name === undefined) return true
    for (const bit of bitsOf(field, name)) if ((this.bits[bit >>> 5]! & (1 << (bit & 31))) === 0) return false
    return true
  }
}

function* bitsOf(field: string, name: string): Iterable<number> {
  const text = `${field} ${name}`
  const first = hashString(0, text)
  // Odd, so that it passes through all of them.
  const second = hashString(first, text) | 1
  for (let count = 0; count < HASHES; count++) yield ((first + Math.imul(count, second)) >>> 0) % FILTER_BITS
}
