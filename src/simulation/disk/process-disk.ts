import type { AppendFile, Disk, DiskLock, ReadFile } from '../../environment/environment.js'
import { DiskError, DiskFullError } from '../../sync/errors.js'
import { EventKind } from '../kernel/event-queue.js'
import { hashBytes } from '../kernel/hash.js'
import type { SimulatedProcess } from '../kernel/process.js'
import type { StoredDisk } from './store.js'
import type { StoredFile } from './stored-file.js'

/** Zeros that a file keeps behind its end at most: enough for restarts to meet them, in hundreds of files. */
const MAX_RESERVED_BYTES = 4096
/** Sequential transfer of a plain disk: 200 MB/s. */
const BYTES_PER_US = 200
/** However slow the disk is, one operation ends within this; so a disk that was healed is soon itself again. */
const MAX_OPERATION_US = 3_000_000

/** The disk as one process sees it: every call takes time, and ends only if the process lives to see it. */
export class ProcessDisk implements Disk {
  /** Files with an append under way; when the process dies, that may have been written in part. */
  readonly inFlight = new Set<StoredFile>()

  constructor(
    readonly process: SimulatedProcess,
    readonly store: StoredDisk,
  ) {
    process.onDeath(() => {
      for (const file of this.inFlight) {
        if (store.random.chance(0.5)) file.interruptAppend(store.random)
      }
    })
  }

  makeDirectory(path: string): Promise<void> {
    return this.perform(this.store.profile.writeUs, () => this.store.makeDirectory(path))
  }

  list(path: string): Promise<string[]> {
    return this.perform(this.store.profile.writeUs, () => this.store.list(path))
  }

  openAppend(path: string): Promise<AppendFile> {
    return this.perform(
      this.store.profile.writeUs,
      () => new VirtualAppendFile(this, this.store.openOrCreate(path), path),
    )
  }

  openRead(path: string): Promise<ReadFile> {
    return this.perform(this.store.profile.writeUs, () => new VirtualReadFile(this, this.store.get(path)))
  }

  rename(from: string, to: string): Promise<void> {
    return this.perform(this.store.profile.writeUs, () => this.store.rename(from, to))
  }

  remove(path: string): Promise<void> {
    return this.perform(this.store.profile.writeUs, () => this.store.remove(path))
  }

  syncDirectory(path: string): Promise<void> {
    return this.perform(this.syncUs(), () => this.store.syncDirectory(path))
  }

  lock(path: string): Promise<DiskLock> {
    return this.perform(this.store.profile.writeUs, () => {
      this.store.lock(path, this.process)
      const release = () =>
        this.perform(this.store.profile.writeUs, () => this.store.unlock(path, this.process))
      return { release }
    })
  }

  syncUs(): number {
    const { syncUs, maxSyncUs } = this.store.profile
    return this.store.random.delay(syncUs, maxSyncUs)
  }

  /** Runs `operation` after the disk's time for it; its result or error is an event of the process. */
  perform<T>(durationUs: number, operation: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const slowedUs = Math.min(durationUs * this.store.slowdown, Math.max(durationUs, MAX_OPERATION_US))
      this.process.schedule(slowedUs, EventKind.disk, () => {
        try {
          resolve(operation())
        } catch (error) {
          reject(error)
        }
      })
    })
  }
}

class VirtualAppendFile implements AppendFile {
  #busy = false
  #closed = false

  constructor(
    readonly disk: ProcessDisk,
    readonly file: StoredFile,
    readonly path: string,
  ) {}

  get size(): number {
    return this.file.size
  }

  append(chunks: readonly Uint8Array[], options: { readonly durable: boolean }): Promise<void> {
    const { disk, file } = this
    const { store } = disk
    const data = Buffer.concat(chunks)
    const misuse = this.#misuse()
    if (misuse !== undefined) return Promise.reject(misuse)
    const durationUs =
      store.profile.writeUs + data.length / BYTES_PER_US + (options.durable ? disk.syncUs() : 0)
    disk.process.kernel.record(EventKind.disk, disk.process.server, data.length, hashBytes(data))
    const failure = this.#failure()
    // The bytes are in the system's hands from here on, whatever becomes of the process.
    const written = failure === undefined ? data.length : store.random.integer(0, data.length)
    file.append(data.subarray(0, written))
    this.#busy = true
    disk.inFlight.add(file)
    return disk.perform(durationUs, () => {
      this.#busy = false
      disk.inFlight.delete(file)
      if (failure !== undefined) throw failure
      if (options.durable) file.sync()
    })
  }

  reserve(bytes: number): void {
    if (this.#busy || this.#closed || this.disk.store.full) return
    this.file.reserve(Math.min(bytes, MAX_RESERVED_BYTES))
  }

  truncate(size: number): Promise<void> {
    const misuse = this.#misuse()
    if (misuse !== undefined) return Promise.reject(misuse)
    return this.disk.perform(this.disk.syncUs(), () => this.file.truncate(size))
  }

  close(): Promise<void> {
    this.#closed = true
    return this.disk.perform(this.disk.store.profile.writeUs, () => this.file.releaseReserved())
  }

  #misuse(): DiskError | undefined {
    if (this.#closed) return new DiskError(`${this.path} is closed`)
    return this.#busy ? new DiskError(`${this.path}: a second append while one is in flight`) : undefined
  }

  #failure(): DiskError | undefined {
    const { store } = this.disk
    if (store.full) return new DiskFullError(`no space left to append to ${this.path}`)
    if (store.failWrites === 0) return undefined
    store.failWrites--
    return new DiskError(`input/output error appending to ${this.path}`)
  }
}

class VirtualReadFile implements ReadFile {
  constructor(
    readonly disk: ProcessDisk,
    readonly file: StoredFile,
  ) {}

  get size(): number {
    return this.file.length
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    const durationUs = this.disk.store.profile.writeUs + length / BYTES_PER_US
    return this.disk.perform(durationUs, () => this.file.read(offset, length))
  }

  close(): Promise<void> {
    return this.disk.perform(this.disk.store.profile.writeUs, () => undefined)
  }
}
