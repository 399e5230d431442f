import fs from 'node:fs'
import { dirname, resolve } from 'node:path'
import { acquireDirectoryLock } from './directory-lock.js'
import { toDiskError } from './disk-errors.js'
import type { AppendFile, Disk, DiskLock, ReadFile } from './environment.js'
import { RealAppendFile } from './real-append-file.js'

/** Files are for the server's own user only: they hold its state and, beside it, its keys. */
const DIRECTORY_MODE = 0o700

/** The file system of this machine; see src/environment/directory-lock.ts for what its locks hold against. */
export function createRealDisk(): Disk {
  return new RealDisk()
}

/** The machine's file system. */
class RealDisk implements Disk {
  /** Creates missing parents too, and makes all of them durable. */
  async makeDirectory(path: string): Promise<void> {
    const first = await attempt('create directory', path, () =>
      fs.promises.mkdir(path, { recursive: true, mode: DIRECTORY_MODE }),
    )
    if (first === undefined) return
    // Every new name stands in its parent, from the one nearest to the files up to the first created.
    const top = dirname(resolve(first))
    for (let parent = dirname(resolve(path)); ; parent = dirname(parent)) {
      await this.syncDirectory(parent)
      if (parent === top || parent === dirname(parent)) return
    }
  }

  async list(path: string): Promise<string[]> {
    return (await attempt('list', path, () => fs.promises.readdir(path))).sort()
  }

  openAppend(path: string): Promise<AppendFile> {
    return RealAppendFile.open(path)
  }

  async openRead(path: string): Promise<ReadFile> {
    const handle = await attempt('open', path, () => fs.promises.open(path, 'r'))
    try {
      const { size } = await handle.stat()
      return new RealReadFile(path, handle, size)
    } catch (error) {
      await handle.close()
      throw toDiskError('stat', path, error)
    }
  }

  async rename(from: string, to: string): Promise<void> {
    await attempt('rename', from, () => fs.promises.rename(from, to))
  }

  async remove(path: string): Promise<void> {
    await attempt('remove', path, () => fs.promises.unlink(path))
  }

  async syncDirectory(path: string): Promise<void> {
    // Windows cannot open a directory for that; NTFS journals its names by itself.
    if (process.platform === 'win32') return
    await attempt('sync directory', path, async () => {
      const handle = await fs.promises.open(path, 'r')
      try {
        await handle.sync()
      } finally {
        await handle.close()
      }
    })
  }

  lock(path: string): Promise<DiskLock> {
    return acquireDirectoryLock(path)
  }
}

class RealReadFile implements ReadFile {
  readonly #path: string
  readonly #handle: fs.promises.FileHandle
  readonly size: number

  constructor(path: string, handle: fs.promises.FileHandle, size: number) {
    this.#path = path
    this.#handle = handle
    this.size = size
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const wanted = Math.max(0, Math.min(length, this.size - offset))
    const bytes = new Uint8Array(wanted)
    let held = 0
    while (held < wanted) {
      const { bytesRead } = await attempt('read', this.#path, () =>
        this.#handle.read(bytes, held, wanted - held, offset + held),
      )
      if (bytesRead === 0) break
      held += bytesRead
    }
    return held === wanted ? bytes : bytes.subarray(0, held)
  }

  async close(): Promise<void> {
    await attempt('close', this.#path, () => this.#handle.close())
  }
}

async function attempt<T>(operation: string, path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw toDiskError(operation, path, error)
  }
}
