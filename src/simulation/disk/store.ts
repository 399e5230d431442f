import { DirectoryInUseError, DiskFullError, FileNotFoundError } from '../../sync/errors.js'
import type { SimulatedProcess } from '../kernel/process.js'
import type { SeededRandom } from '../kernel/random.js'
import { StoredFile } from './stored-file.js'

/** One change of a directory that is not durable yet, and how to take it back. */
interface DirectoryChange {
  readonly directory: string
  undo(): void
}

/** A disk at one moment: a backup. */
export type DiskImage = ReadonlyMap<string, Uint8Array>

/** The latencies of one disk, in microseconds. */
export interface DiskProfile {
  readonly writeUs: number
  readonly syncUs: number
  readonly maxSyncUs: number
  /** A crash may also lose 4 KiB pages in the middle of the last write, not only its end. */
  readonly losesPages: boolean
}

export const DEFAULT_DISK_PROFILE: DiskProfile = {
  writeUs: 30,
  syncUs: 1_000,
  maxSyncUs: 100_000,
  losesPages: false,
}

/** The files of one server. They outlive its processes; what was not synced does not outlive a power cut. */
export class StoredDisk {
  readonly #files = new Map<string, StoredFile>()
  readonly #directories = new Set<string>(['', '/', '.'])
  #changes: DirectoryChange[] = []
  readonly #locks = new Map<string, SimulatedProcess>()
  /** Times slower than normal. */
  slowdown = 1
  full = false
  /** So many of the next writes fail with an input/output error. */
  failWrites = 0

  constructor(
    readonly profile: DiskProfile,
    readonly random: SeededRandom,
  ) {}

  get usedBytes(): number {
    let total = 0
    for (const file of this.#files.values()) total += file.size
    return total
  }

  makeDirectory(path: string): void {
    for (let at = normal(path); at !== '' && at !== '/'; at = parentOf(at)) this.#directories.add(at)
  }

  list(path: string): string[] {
    const directory = normal(path)
    this.#requireDirectory(directory)
    const names = [...this.#files.keys()].filter((file) => parentOf(file) === directory)
    return names.map((file) => file.slice(file.lastIndexOf('/') + 1)).sort()
  }

  get(path: string): StoredFile {
    const file = this.#files.get(normal(path))
    if (file === undefined) throw new FileNotFoundError(`${path} does not exist`)
    return file
  }

  openOrCreate(path: string): StoredFile {
    const name = normal(path)
    const existing = this.#files.get(name)
    if (existing !== undefined) {
      existing.reopen()
      return existing
    }
    this.#requireDirectory(parentOf(name))
    if (this.full) throw new DiskFullError(`no space left to create ${path}`)
    const file = new StoredFile()
    this.#files.set(name, file)
    this.#changed(name, () => this.#files.delete(name))
    return file
  }

  rename(from: string, to: string): void {
    const source = normal(from)
    const target = normal(to)
    const file = this.get(source)
    this.#requireDirectory(parentOf(target))
    const replaced = this.#files.get(target)
    this.#files.delete(source)
    this.#files.set(target, file)
    this.#changed(target, () => {
      this.#files.set(source, file)
      if (replaced === undefined) this.#files.delete(target)
      else this.#files.set(target, replaced)
    })
  }

  remove(path: string): void {
    const name = normal(path)
    const file = this.get(name)
    this.#files.delete(name)
    this.#changed(name, () => this.#files.set(name, file))
  }

  syncDirectory(path: string): void {
    const directory = normal(path)
    this.#requireDirectory(directory)
    this.#changes = this.#changes.filter((change) => change.directory !== directory)
  }

  lock(path: string, process: SimulatedProcess): void {
    const name = normal(path)
    if (this.#locks.get(name)?.alive) throw new DirectoryInUseError(`${path} is in use by another process`)
    this.#locks.set(name, process)
  }

  unlock(path: string, process: SimulatedProcess): void {
    const name = normal(path)
    if (this.#locks.get(name) === process) this.#locks.delete(name)
  }

  /**
   * The power goes: directory changes that were not synced are undone from some point on, newest first (a
   * journalling file system keeps their order); each file keeps what it can of what was not synced.
   */
  losePower(): void {
    const kept = this.random.integer(0, this.#changes.length)
    for (const change of this.#changes.slice(kept).reverse()) change.undo()
    this.#changes = []
    for (const file of this.#sortedFiles()) file.losePower(this.random, this.profile.losesPages)
  }

  image(): DiskImage {
    const copies = new Map<string, Uint8Array>()
    for (const [path, file] of this.#files) copies.set(path, file.contents())
    return copies
  }

  /** Puts a backup back, or with an empty image wipes the disk. Only while no process runs on it. */
  restore(image: DiskImage): void {
    this.#files.clear()
    this.#changes = []
    for (const [path, contents] of image) this.#files.set(path, StoredFile.durable(contents))
  }

  /** Flips one bit somewhere in what is stored, `spared` files excepted. False when nothing is. */
  flipBit(random: SeededRandom, spared: ReadonlySet<string> = new Set()): boolean {
    const files = this.#sortedFiles(spared).filter((file) => file.size > 0)
    if (files.length === 0) return false
    const file = random.pick(files)
    file.flipBit(random.integer(0, file.size - 1), random.integer(0, 7))
    return true
  }

  #sortedFiles(without: ReadonlySet<string> = new Set()): StoredFile[] {
    const paths = [...this.#files.keys()].filter((path) => !without.has(path)).sort()
    return paths.map((path) => this.#files.get(path) as StoredFile)
  }

  #changed(path: string, undo: () => void): void {
    this.#changes.push({ directory: parentOf(path), undo })
  }

  #requireDirectory(directory: string): void {
    if (!this.#directories.has(directory)) throw new FileNotFoundError(`${directory} does not exist`)
  }
}

function normal(path: string): string {
  const absolute = path.startsWith('/')
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  return (absolute ? '/' : '') + parts.join('/')
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf('/')
  return slash <= 0 ? path.slice(0, slash + 1) : path.slice(0, slash)
}
