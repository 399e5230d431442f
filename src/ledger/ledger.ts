import type { Environment, Timer } from '../environment/environment.js'
import type { Logger } from '../sync/logger.js'
import { entryBytes, MAX_BLOCK_ENTRIES } from './codec.js'
import { type LedgerEntry, type LedgerGap, type LedgerLine, passes } from './entry.js'
import { FileStore } from './file-store.js'
import { MemoryStore } from './memory-store.js'
import type { LedgerQuery } from './query.js'
import type { LedgerStore } from './store.js'

export interface LedgerSettings {
  readonly retentionMs: number
  readonly maxBytes: number
}

export interface LedgerHome extends LedgerSettings {
  readonly environment: Pick<Environment, 'clock' | 'disk' | 'scheduler'>
  /** Undefined: in memory. */
  readonly directory: string | undefined
  readonly logger: Logger
}

/** Bytes of entries that may wait to be written, about; what comes beyond is counted and not kept. */
export const MAX_WAITING_BYTES = 8 * 1024 * 1024
/** Entries wait for company so long. */
const WRITE_AFTER_MS = 50
/** About the most bytes of one block. */
const BLOCK_BYTES = 128 * 1024
/** What was written is on the disk for sure after so long. */
const SYNC_EVERY_MS = 1_000
/** A disk that takes nothing is tried again after this. */
const RETRY_MS = 1_000

type Reason = Extract<LedgerGap['reason'], 'overload' | 'disk' | 'journal'>

/**
 * What was done on this server, for people: written in the background, bounded, in nobody's way. Lines that could
 * not be kept are counted, and a gap says so where they would be.
 */
export class Ledger {
  private waiting: LedgerEntry[] = []
  private waitingBytes = 0
  private readonly missed = new Map<Reason, number>()
  private writing: Promise<void> | undefined
  private timer: Timer | undefined
  private isFailing = false
  /** Set while something is written that a power cut would take. */
  private syncTimer: Timer | undefined
  /** Counts appends: whoever follows looks again when it has grown. */
  private appends = 0
  private wakers: (() => void)[] = []
  private closed = false

  private constructor(
    private readonly options: LedgerHome,
    private readonly store: LedgerStore,
  ) {}

  /** @throws DiskError */
  static async open(options: LedgerHome): Promise<Ledger> {
    const { directory, environment } = options
    if (directory === undefined) return new Ledger(options, new MemoryStore())
    const store = await FileStore.open({ ...options, ...environment, directory })
    const ledger = new Ledger(options, store)
    if (store.endedInCrash) ledger.add(ledger.gap('crash', undefined))
    return ledger
  }

  /** Keeps a line. Costs the caller no more than a place in a queue. */
  record(line: LedgerLine): void {
    if (this.closed) return
    if (this.waitingBytes >= MAX_WAITING_BYTES) this.miss(this.isFailing ? 'disk' : 'overload', 1)
    else this.add(line)
  }

  /** So many lines are not known or could not be kept. */
  miss(reason: Reason, lines: number): void {
    this.missed.set(reason, (this.missed.get(reason) ?? 0) + lines)
    this.writeLater(WRITE_AFTER_MS)
  }

  /** Entries that pass, oldest first. What was recorded before the call is among them. */
  async *entries(query: LedgerQuery): AsyncGenerator<LedgerEntry> {
    const { limit, follow, signal } = query
    const isWanted = (entry: LedgerEntry) => passes(entry, query)
    await this.flush()
    let cursor = this.store.oldest()
    if (limit !== undefined) {
      const newest = await this.store.newest(limit, query)
      yield* newest.entries
      cursor = newest.cursor
      if (!follow) return
    }
    while (!signal?.aborted) {
      const { appends } = this
      const batch = await cursor.next()
      for (const entry of batch ?? []) {
        if (signal?.aborted) return
        if (isWanted(entry)) yield entry
      }
      if (batch !== undefined) continue
      if (!follow || this.closed) return
      if (this.appends === appends) await this.more(signal)
    }
  }

  /** Writes what waits, unless the disk takes nothing. */
  async flush(): Promise<void> {
    await this.writing
    if (this.waiting.length === 0 && this.missed.size === 0) return
    this.timer?.cancel()
    this.timer = undefined
    await this.write()
  }

  /** Writes what waits and marks a proper end; what the disk does not take is lost, and the next start says so. */
  async close(): Promise<void> {
    if (this.closed) return
    await this.flush()
    this.closed = true
    this.timer?.cancel()
    this.syncTimer?.cancel()
    await this.writing
    try {
      if (!this.isFailing) await this.store.close()
    } catch (error) {
      this.options.logger.warn({ error }, 'the ledger could not be closed')
    }
    this.wake()
  }

  private add(entry: LedgerEntry): void {
    this.waiting.push(entry)
    this.waitingBytes += entryBytes(entry)
    this.writeLater(WRITE_AFTER_MS)
  }

  private writeLater(delayMs: number): void {
    if (this.timer || this.writing || this.closed) return
    this.timer = this.options.environment.scheduler.after(delayMs, () => {
      this.timer = undefined
      void this.write()
    })
  }

  private write(): Promise<void> {
    this.writing ??= this.writeAll().finally(() => {
      this.writing = undefined
      if (this.waiting.length > 0 || this.missed.size > 0)
        this.writeLater(this.isFailing ? RETRY_MS : WRITE_AFTER_MS)
    })
    return this.writing
  }

  private async writeAll(): Promise<void> {
    // What comes meanwhile is written by the next round: a flood does not keep this one going for ever.
    let left = this.waiting.length
    while (left > 0 || this.missed.size > 0) {
      const { block, bytes } = this.nextBlock(left)
      const gaps = [...this.missed].map(([reason, lines]) => this.gap(reason, lines))
      const isLast = block.length >= left
      try {
        await this.store.append(isLast ? [...block, ...gaps] : block, { durable: false })
      } catch (error) {
        if (!this.isFailing) this.options.logger.warn({ error }, 'the ledger cannot be written for now')
        this.isFailing = true
        return
      }
      if (this.isFailing) this.options.logger.info({}, 'the ledger is written again')
      this.isFailing = false
      this.syncLater()
      this.waiting.splice(0, block.length)
      this.waitingBytes -= bytes
      if (isLast) for (const { reason, missing } of gaps) this.told(reason as Reason, missing!)
      left -= block.length
      this.appends += 1
      this.wake()
    }
  }

  private syncLater(): void {
    this.syncTimer ??= this.options.environment.scheduler.after(SYNC_EVERY_MS, () => {
      this.syncTimer = undefined
      void this.sync()
    })
  }

  /** Between two appends: one at a time. */
  private async sync(): Promise<void> {
    while (this.writing) await this.writing
    if (this.closed || this.isFailing) return
    this.writing = this.store
      .sync()
      .catch((error: unknown) => this.options.logger.warn({ error }, 'the ledger cannot be synced'))
      .finally(() => {
        this.writing = undefined
        if (this.waiting.length > 0 || this.missed.size > 0) this.writeLater(WRITE_AFTER_MS)
      })
    await this.writing
  }

  /** The oldest of the first `count` entries that wait, as many as go together. */
  private nextBlock(count: number): { block: LedgerEntry[]; bytes: number } {
    const block: LedgerEntry[] = []
    let bytes = 0
    for (const entry of this.waiting.slice(0, Math.min(count, MAX_BLOCK_ENTRIES - this.missed.size))) {
      const more = entryBytes(entry)
      if (block.length > 0 && bytes + more > BLOCK_BYTES) break
      block.push(entry)
      bytes += more
    }
    return { block, bytes }
  }

  private told(reason: Reason, lines: number): void {
    const left = (this.missed.get(reason) ?? 0) - lines
    if (left > 0) this.missed.set(reason, left)
    else this.missed.delete(reason)
  }

  private gap(reason: LedgerGap['reason'], missing: number | undefined): LedgerGap {
    return { type: 'gap', timeMs: this.options.environment.clock.wallMs(), reason, missing }
  }

  private more(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        signal?.removeEventListener('abort', done)
        resolve()
      }
      this.wakers.push(done)
      signal?.addEventListener('abort', done, { once: true })
    })
  }

  private wake(): void {
    for (const waker of this.wakers.splice(0)) waker()
  }
}
