import type { Environment } from '../../src/environment/environment.js'
import type { Journal, JournalStatus, RecoveryReport } from '../../src/journal/journal.js'
import { openJournal } from '../../src/journal/open-journal.js'
import { FakeDisk, Storage, seededUniform, Turns } from './fake-disk.js'

/** A machine with one journal; it can crash and start again. */
export class World {
  readonly turns = new Turns()
  readonly storage: Storage
  readonly #uniform: () => number
  journal!: Journal
  recovery!: RecoveryReport
  readonly statuses: JournalStatus[] = []
  /** Every value of onDurable since the last start. */
  durable = 0

  constructor(seed = 1) {
    this.#uniform = seededUniform(seed)
    this.storage = new Storage(this.#uniform)
  }

  get environment(): Pick<Environment, 'disk' | 'scheduler' | 'random'> {
    const uniform = this.#uniform
    const bytes = (length: number) => Uint8Array.from({ length }, () => Math.floor(uniform() * 256))
    return {
      disk: new FakeDisk(this.storage, this.turns),
      scheduler: this.turns,
      random: { bytes, uniform },
    }
  }

  /** Opens and returns what was recovered (copies). */
  async open(): Promise<{ snapshot: Uint8Array[]; journal: Uint8Array[] }> {
    const recovered = { snapshot: [] as Uint8Array[], journal: [] as Uint8Array[] }
    this.durable = 0
    const opened = await this.turns.run(
      openJournal({
        environment: this.environment,
        directory: 'data',
        replay: (records, source) => {
          for (const record of records) recovered[source].push(record.slice())
        },
        onDurable: (position) => {
          if (position <= this.durable) throw new Error('durable went back')
          this.durable = position
        },
        onStatus: (status) => this.statuses.push(status),
      }),
    )
    this.journal = opened.journal
    this.recovery = opened.recovery
    return recovered
  }

  /** The process dies where it is; with `power`, the machine as well. */
  crash(power: boolean): void {
    this.turns.clear()
    if (power) this.storage.losePower()
    else this.storage.kill()
    this.storage.fault = () => undefined
  }

  run<T>(operation: Promise<T>): Promise<T> {
    return this.turns.run(operation)
  }

  async appendDurable(...texts: string[]): Promise<void> {
    await this.run(this.journal.whenDurable(this.journal.append(texts.map(encode))))
  }

  /** Fails the call of that number from now on (0 is the next), once. */
  failCall(number: number, fault: 'ENOSPC' | 'EIO'): void {
    const failing = this.storage.calls + number + 1
    this.storage.fault = () => (this.storage.calls === failing ? fault : undefined)
  }

  file(name: string): Uint8Array {
    const inode = this.storage.files.get(name)
    if (inode === undefined) throw new Error(`${name} is not there, only ${this.names()}`)
    return inode.bytes
  }

  names(): string[] {
    return [...this.storage.files.keys()].sort()
  }

  /** Puts files on the platter as they are. */
  put(files: ReadonlyMap<string, Uint8Array>): void {
    this.storage.files = new Map([...files].map(([name, bytes]) => [name, { bytes, synced: bytes }]))
    this.storage.syncedFiles = new Map(this.storage.files)
    this.storage.changes = []
  }

  copy(): Map<string, Uint8Array> {
    return new Map([...this.storage.files].map(([name, { bytes }]) => [name, bytes.slice()]))
  }
}

export function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

export function decode(records: readonly Uint8Array[]): string[] {
  return records.map((record) => new TextDecoder().decode(record))
}
