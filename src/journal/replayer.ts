import type { Scheduler } from '../environment/environment.js'
import { nextTurn } from '../environment/next-turn.js'
import { forEachRecord } from './frame.js'
import {
  type JournalOptions,
  REPLAY_BATCH_BYTES,
  REPLAY_BATCH_RECORDS,
  type ReplaySource,
} from './journal.js'

/** Hands records to the owner in small batches, with a turn of the event loop after each. */
export class Replayer {
  readonly #scheduler: Scheduler
  readonly #replay: JournalOptions['replay']
  #batch: Uint8Array[] = []
  #batchBytes = 0
  #source: ReplaySource = 'snapshot'
  readonly counts: Record<ReplaySource, number> = { snapshot: 0, journal: 0 }

  constructor(scheduler: Scheduler, replay: JournalOptions['replay']) {
    this.#scheduler = scheduler
    this.#replay = replay
  }

  async startSource(source: ReplaySource): Promise<void> {
    await this.flush()
    this.#source = source
  }

  /** Resolves to false when the payload is not a row of records; what came before the fault was handed out. */
  async take(payload: Uint8Array): Promise<boolean> {
    const records: Uint8Array[] = []
    if (!forEachRecord(payload, (record) => records.push(record))) return false
    this.counts[this.#source] += records.length
    for (const record of records) {
      this.#batch.push(record)
      this.#batchBytes += record.length
      const full = this.#batch.length >= REPLAY_BATCH_RECORDS || this.#batchBytes >= REPLAY_BATCH_BYTES
      if (full) await this.flush()
    }
    return true
  }

  async flush(): Promise<void> {
    if (this.#batch.length === 0) return
    const batch = this.#batch
    this.#batch = []
    this.#batchBytes = 0
    await this.#replay(batch, this.#source)
    await nextTurn(this.#scheduler)
  }
}
