import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { toDiskError } from './disk-errors.js'

/** A fresh directory that only this user may enter, under the system's place for such. @throws DiskError */
export async function makeTemporaryDirectory(prefix: string): Promise<string> {
  try {
    return await fs.promises.mkdtemp(join(tmpdir(), prefix))
  } catch (error) {
    throw toDiskError('create directory', join(tmpdir(), prefix), error)
  }
}

/** Removes a directory and all in it. @throws DiskError */
export async function removeTree(path: string): Promise<void> {
  try {
    await fs.promises.rm(path, { recursive: true, force: true, maxRetries: 3 })
  } catch (error) {
    throw toDiskError('remove', path, error)
  }
}
