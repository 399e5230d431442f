import type { Scheduler } from '../environment/environment.js'
import { InvalidArgumentError, NotRunningError, OverloadedError } from '../sync/errors.js'
import { DurabilityWaiters } from './durability-waiters.js'
import { checkedBytes } from './group-queue.js'
import {
  type Journal,
  type JournalEvents,
  type JournalStatus,
  MAX_PENDING_BYTES,
  type SnapshotWriter,
} from './journal.js'

/** For durability 'memory': keeps nothing, and completes a turn of the event loop later, as a disk would. */
export class MemoryJournal implements Journal {
  readonly status: JournalStatus = 'ok'
  /** Always 0: there is nothing that a snapshot could shorten. */
  readonly bytesSinceSnapshot = 0
  readonly #scheduler: Scheduler
  readonly #events: JournalEvents
  readonly #waiters = new DurabilityWaiters()
  #appended = 0
  #durable = 0
  #pendingBytes = 0
  #scheduled = false
  #closed = false
  #snapshotOpen = false

  constructor(scheduler: Scheduler, events: JournalEvents = {}) {
    this.#scheduler = scheduler
    this.#events = events
  }

  get appended(): number {
    return this.#appended
  }

  get durable(): number {
    return this.#durable
  }

  get pendingBytes(): number {
    return this.#pendingBytes
  }

  append(records: readonly Uint8Array[]): number {
    this.#assertOpen()
    const bytes = checkedBytes(records)
    if (bytes > MAX_PENDING_BYTES) throw new InvalidArgumentError(`${bytes} bytes in one append are too many`)
    if (this.#pendingBytes + bytes > MAX_PENDING_BYTES)
      throw new OverloadedError(`${this.#pendingBytes} bytes wait, the journal takes no more for now`)
    this.#appended += records.length
    this.#pendingBytes += bytes
    if (!this.#scheduled && records.length > 0) {
      this.#scheduled = true
      this.#scheduler.soon(() => this.#complete())
    }
    return this.#appended
  }

  async whenDurable(position: number): Promise<void> {
    if (position <= this.#durable) return
    this.#assertOpen()
    if (!(position <= this.#appended))
      throw new InvalidArgumentError(`position ${position} is beyond the newest, ${this.#appended}`)
    return this.#waiters.wait(position)
  }

  async beginSnapshot(): Promise<SnapshotWriter> {
    this.#assertOpen()
    if (this.#snapshotOpen) throw new InvalidArgumentError('a snapshot is being written already')
    this.#snapshotOpen = true
    return new DiscardingSnapshotWriter(() => {
      this.#snapshotOpen = false
    })
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#complete()
  }

  #complete(): void {
    this.#scheduled = false
    if (this.#durable === this.#appended) return
    this.#durable = this.#appended
    this.#pendingBytes = 0
    this.#events.onDurable?.(this.#durable)
    this.#waiters.resolveUpTo(this.#durable)
  }

  #assertOpen(): void {
    if (this.#closed) throw new NotRunningError('the journal is closed')
  }
}

class DiscardingSnapshotWriter implements SnapshotWriter {
  readonly #onEnd: () => void
  #ended = false

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd
  }

  async write(records: readonly Uint8Array[]): Promise<void> {
    this.#assertOpen()
    checkedBytes(records)
  }

  async commit(): Promise<void> {
    this.#assertOpen()
    await this.abort()
  }

  async abort(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    this.#onEnd()
  }

  #assertOpen(): void {
    if (this.#ended) throw new InvalidArgumentError('the snapshot has ended')
  }
}
