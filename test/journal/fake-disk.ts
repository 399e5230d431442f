import type {
  AppendFile,
  Disk,
  DiskLock,
  ReadFile,
  Scheduler,
  Timer,
} from '../../src/environment/environment.js'
import { DirectoryInUseError, DiskError, DiskFullError, FileNotFoundError } from '../../src/sync/errors.js'

/** Event loop in slow motion: one task at a time, when the test says so. Timers fire when nothing else is left. */
export class Turns implements Scheduler {
  #tasks: (() => void)[] = []
  #timers: { readonly due: number; readonly task: () => void }[] = []
  #now = 0

  soon(task: () => void): void {
    this.#tasks.push(task)
  }

  after(delayMs: number, task: () => void): Timer {
    const timer = { due: this.#now + delayMs, task }
    this.#timers.push(timer)
    return { cancel: () => this.#forget(timer) }
  }

  /** Everything that the process had in mind is gone. */
  clear(): void {
    this.#tasks = []
    this.#timers = []
  }

  /** False when there was nothing to do. */
  async step(): Promise<boolean> {
    const task = this.#tasks.shift() ?? this.#nextTimer()
    task?.()
    // Everything that follows from it by promises alone belongs to the same turn.
    await new Promise((resolve) => setImmediate(resolve))
    return task !== undefined
  }

  async run<T>(operation: Promise<T>, maxSteps = 100_000): Promise<T> {
    let settled = false
    const settle = () => {
      settled = true
    }
    operation.then(settle, settle)
    let idle = 0
    for (let step = 0; !settled; step += 1) {
      idle = (await this.step()) ? 0 : idle + 1
      if (!settled && (idle > 2 || step > maxSteps)) throw new Error('the operation hangs')
    }
    return operation
  }

  #nextTimer(): (() => void) | undefined {
    const next = this.#timers.sort((a, b) => a.due - b.due).shift()
    if (next !== undefined) this.#now = next.due
    return next?.task
  }

  #forget(timer: { readonly due: number }): void {
    this.#timers = this.#timers.filter((other) => other !== timer)
  }
}

/** A file's bytes as the processes see them, and as they are on the platter. */
export interface Inode {
  bytes: Uint8Array
  synced: Uint8Array
}

type Directory = Map<string, Inode>
export type Fault = 'ENOSPC' | 'EIO'
export type Uniform = () => number

/** What stays when processes die and the power goes. All files live in one directory. */
export class Storage {
  files: Directory = new Map()
  /** Names as they are on the platter. */
  syncedFiles: Directory = new Map()
  changes: ((directory: Directory) => void)[] = []
  locked = false
  /** Number of calls that have been made, so that a test can fail each of them in turn. */
  calls = 0
  /** Number of calls that were made to fail. */
  faults = 0
  /** Asked before every call. */
  fault: (operation: string, path: string) => Fault | undefined = () => undefined
  /** Zeros that a file may reserve; 0 for a disk that reserves nothing. */
  reservedBytes = 0
  readonly uniform: Uniform

  constructor(uniform: Uniform) {
    this.uniform = uniform
  }

  /** The process is gone, the system lives on: nothing written is lost, and nothing becomes durable. */
  kill(): void {
    this.locked = false
  }

  /** Unsynced bytes and names survive in part, in any combination. */
  losePower(): void {
    this.locked = false
    for (const change of this.changes) if (this.uniform() < 0.5) change(this.syncedFiles)
    this.changes = []
    for (const inode of this.syncedFiles.values()) {
      inode.bytes = this.#survivingBytes(inode)
      inode.synced = inode.bytes
    }
    this.files = new Map(this.syncedFiles)
  }

  #survivingBytes({ bytes, synced }: Inode): Uint8Array {
    const between = (from: number, to: number) => from + Math.floor(this.uniform() * (to - from + 1))
    if (bytes === synced) return synced
    const result = bytes.slice(0, between(synced.length, bytes.length))
    // What was written over reserved zeros: any of its blocks, or all but some bit.
    const written = result.findIndex((byte, at) => byte !== (synced[at] ?? byte))
    if (written >= 0) {
      const block = between(1, 64)
      for (let at = written; at < synced.length; at += block)
        if (this.uniform() < 0.3) result.set(synced.subarray(at, Math.min(at + block, synced.length)), at)
    }
    const way = between(0, 3)
    // The length was written and the data was not, from some byte on, or in some of the blocks.
    if (way === 1) result.fill(0, between(synced.length, result.length))
    if (way === 2) {
      const block = between(1, Math.max(16, (bytes.length - synced.length) >> 2))
      for (let at = synced.length; at < result.length; at += block)
        if (this.uniform() < 0.5) result.fill(0, at, Math.min(at + block, result.length))
    }
    if (way === 3 && result.length > synced.length) result[between(synced.length, result.length - 1)]! ^= 1
    return result
  }
}

/** The storage as one process sees it. Each call takes three turns: begun, done, told. */
export class FakeDisk implements Disk {
  readonly #storage: Storage
  readonly #turns: Turns

  constructor(storage: Storage, turns: Turns) {
    this.#storage = storage
    this.#turns = turns
  }

  async makeDirectory(): Promise<void> {}

  list(path: string): Promise<string[]> {
    return this.call('list', path, () => [...this.#storage.files.keys()].sort())
  }

  openAppend(path: string): Promise<AppendFile> {
    return this.call('openAppend', path, () => {
      const name = baseName(path)
      const { files } = this.#storage
      if (!files.has(name)) {
        const inode: Inode = { bytes: new Uint8Array(0), synced: new Uint8Array(0) }
        this.#change((directory) => directory.set(name, inode))
      }
      return new FakeAppendFile(this, this.#storage, files.get(name)!, path)
    })
  }

  openRead(path: string): Promise<ReadFile> {
    return this.call('openRead', path, () => {
      const inode = this.#find(path)
      return {
        size: inode.bytes.length,
        read: (offset, length) => this.call('read', path, () => inode.bytes.slice(offset, offset + length)),
        close: async () => {},
      }
    })
  }

  rename(from: string, to: string): Promise<void> {
    return this.call('rename', from, () => {
      const inode = this.#find(from)
      this.#change((directory) => {
        directory.delete(baseName(from))
        directory.set(baseName(to), inode)
      })
    })
  }

  remove(path: string): Promise<void> {
    return this.call('remove', path, () => {
      this.#find(path)
      this.#change((directory) => directory.delete(baseName(path)))
    })
  }

  syncDirectory(path: string): Promise<void> {
    return this.call('syncDirectory', path, () => {
      this.#storage.syncedFiles = new Map(this.#storage.files)
      this.#storage.changes = []
    })
  }

  lock(path: string): Promise<DiskLock> {
    return this.call('lock', path, () => {
      if (this.#storage.locked) throw new DirectoryInUseError(path)
      this.#storage.locked = true
      return {
        release: async () => {
          this.#storage.locked = false
        },
      }
    })
  }

  async call<T>(operation: string, path: string, work: () => T, failed: () => void = () => {}): Promise<T> {
    this.#storage.calls += 1
    const fault = this.#storage.fault(operation, path)
    await this.turn()
    if (fault !== undefined) {
      this.#storage.faults += 1
      failed()
    }
    const result = fault === undefined ? work() : undefined
    await this.turn()
    if (fault === 'ENOSPC') throw new DiskFullError(`no space: ${operation}`)
    if (fault === 'EIO') throw new DiskError(`input/output error: ${operation}`)
    return result as T
  }

  turn(): Promise<void> {
    return new Promise((resolve) => this.#turns.soon(resolve))
  }

  #change(change: (directory: Directory) => void): void {
    change(this.#storage.files)
    this.#storage.changes.push(change)
  }

  #find(path: string): Inode {
    const inode = this.#storage.files.get(baseName(path))
    if (inode === undefined) throw new FileNotFoundError(path)
    return inode
  }
}

class FakeAppendFile implements AppendFile {
  readonly #disk: FakeDisk
  readonly #storage: Storage
  readonly #inode: Inode
  readonly #path: string
  #busy = false
  #size: number

  constructor(disk: FakeDisk, storage: Storage, inode: Inode, path: string) {
    this.#size = inode.bytes.length
    this.#path = path
    this.#disk = disk
    this.#storage = storage
    this.#inode = inode
  }

  get size(): number {
    return this.#size
  }

  reserve(bytes: number): void {
    if (this.#busy) throw new Error('reserved while a write is in flight')
    const end = this.#size + Math.min(bytes, this.#storage.reservedBytes)
    if (end > this.#inode.bytes.length) this.#inode.bytes = lengthened(this.#inode.bytes, end)
    if (end > this.#inode.synced.length) this.#inode.synced = lengthened(this.#inode.synced, end)
  }

  async append(chunks: readonly Uint8Array[], options: { readonly durable: boolean }): Promise<void> {
    await this.#alone(async () => {
      // The chunks are read a turn later, as a thread of the system would: they must not be reused before.
      const write = (share: number) => {
        const data = Buffer.concat(chunks)
        const written = data.subarray(0, Math.round(data.length * share))
        const bytes = lengthened(this.#inode.bytes, this.#size + written.length)
        bytes.set(written, this.#size)
        this.#inode.bytes = bytes
        this.#size += written.length
      }
      const partly = () => write(this.#storage.uniform())
      await this.#disk.call('append', this.#path, () => write(1), partly)
      if (options.durable) await this.#disk.call('sync', this.#path, () => this.#sync())
    })
  }

  async truncate(size: number): Promise<void> {
    await this.#alone(() =>
      this.#disk.call('truncate', this.#path, () => {
        if (size > this.size) throw new Error('the journal lengthens a file')
        this.#inode.bytes = this.#inode.bytes.slice(0, size)
        this.#size = size
        this.#sync()
      }),
    )
  }

  async close(): Promise<void> {
    if (this.#busy) throw new Error('closed while a write is in flight')
  }

  #sync(): void {
    this.#inode.synced = this.#inode.bytes
  }

  async #alone(work: () => Promise<void>): Promise<void> {
    if (this.#busy) throw new Error('two writes in flight')
    this.#busy = true
    try {
      await work()
    } finally {
      this.#busy = false
    }
  }
}

/** A copy with zeros at its end, no shorter than it was. */
function lengthened(bytes: Uint8Array, length: number): Uint8Array {
  const longer = new Uint8Array(Math.max(bytes.length, length))
  longer.set(bytes)
  return longer
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Small deterministic generator (mulberry32), so that a seed decides the whole run. */
export function seededUniform(seed: number): Uniform {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
