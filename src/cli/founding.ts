import type { Disk } from '../environment/environment.js'
import { readTextFile, writeTextFile } from '../environment/text-file.js'
import type { MeshNode } from '../node/mesh-node.js'
import { FileNotFoundError } from '../sync/errors.js'

/**
 * A file that `init` leaves beside the config: the first start of this directory founds the strong group of the
 * mesh. It goes once the founding is certainly on disk, and is never made again, so no mesh is founded twice.
 */
export const FOUNDING_NAME = 'founding'
const MAX_FOUNDING_BYTES = 4096
const TEXT =
  'The next start of this server founds the strong group of its mesh, once. Leave this file alone.\n'

export async function markFounding(disk: Disk, dataDir: string): Promise<void> {
  await writeTextFile(disk, dataDir, FOUNDING_NAME, TEXT)
}

export async function isToFound(disk: Disk, dataDir: string): Promise<boolean> {
  return (await readTextFile(disk, `${dataDir}/${FOUNDING_NAME}`, MAX_FOUNDING_BYTES)) !== undefined
}

/** Resolves when the founding is done: what makes a founder lead is in its journal before it does. */
export function founded(node: MeshNode): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (node.raft()?.role !== 'leader') return
      node.off('leader', look)
      resolve()
    }
    node.on('leader', look)
    look()
  })
}

export async function consumeFounding(disk: Disk, dataDir: string): Promise<void> {
  try {
    await disk.remove(`${dataDir}/${FOUNDING_NAME}`)
  } catch (error) {
    if (error instanceof FileNotFoundError) return
    throw error
  }
  await disk.syncDirectory(dataDir)
}
