import { DiskError, FileNotFoundError } from '../sync/errors.js'
import type { Disk } from './environment.js'

/** The text of a small file; undefined when there is none. @throws DiskError when it is longer than `maxBytes` */
export async function readTextFile(disk: Disk, path: string, maxBytes: number): Promise<string | undefined> {
  try {
    const file = await disk.openRead(path)
    try {
      if (file.size > maxBytes) throw new DiskError(`${path} has ${file.size} bytes, at most ${maxBytes}`)
      return Buffer.from(await file.read(0, file.size)).toString('utf8')
    } finally {
      await file.close()
    }
  } catch (error) {
    if (error instanceof FileNotFoundError) return undefined
    throw error
  }
}

/**
 * Writes a small file, readable by its owner alone (the disk makes every file so): whole or not at all, also
 * across a crash, and durable when the promise resolves.
 */
export async function writeTextFile(
  disk: Disk,
  directory: string,
  name: string,
  text: string,
): Promise<void> {
  const temporary = `${directory}/${name}.tmp`
  await disk.remove(temporary).catch((error: unknown) => {
    if (!(error instanceof FileNotFoundError)) throw error
  })
  const file = await disk.openAppend(temporary)
  try {
    await file.append([Buffer.from(text)], { durable: true })
  } finally {
    await file.close()
  }
  await disk.rename(temporary, `${directory}/${name}`)
  await disk.syncDirectory(directory)
}
