import type { Disk } from '../environment/environment.js'
import { ConfigError, DiskError, UsageError } from '../sync/errors.js'
import { CONFIG_NAME, type FileConfig, loadConfig } from './config-file.js'
import type { CommandContext } from './context.js'

/** Where `init` and `join <token>` put a server that names no place of its own. */
export const DATA_ROOT = 'data'
export const DATA_DIR_VARIABLE = 'SILO_MESH_DATA_DIR'

export function homeOf(serverId: string, given: string | undefined, context: CommandContext): string {
  return given ?? nonEmpty(context.variables[DATA_DIR_VARIABLE]) ?? `${DATA_ROOT}/${serverId}`
}

/**
 * The data directory that a command means: the one given, or SILO_MESH_DATA_DIR, or the current directory when
 * it is one, or the only one under ./data. @throws UsageError when there is none or more than one
 */
export async function findDataDir(given: string | undefined, context: CommandContext): Promise<string> {
  const { disk } = context.environment
  const named = given ?? nonEmpty(context.variables[DATA_DIR_VARIABLE])
  if (named !== undefined) return named
  if (await hasConfig(disk, '.')) return '.'
  const found: string[] = []
  for (const name of await list(disk, DATA_ROOT)) {
    if (await hasConfig(disk, `${DATA_ROOT}/${name}`)) found.push(`${DATA_ROOT}/${name}`)
  }
  const [only, ...others] = found
  if (only === undefined) {
    throw new UsageError(
      'no data directory here: give --data-dir, or found a mesh with `silo-mesh init`, or enter one with ' +
        '`silo-mesh join <token> --server <name>`',
    )
  }
  if (others.length > 0) throw new UsageError(`which server? Give one of --data-dir ${found.join(', ')}`)
  return only
}

/** @throws ConfigError when the directory has no config file or a wrong one */
export async function requireConfig(disk: Disk, dataDir: string): Promise<FileConfig> {
  const config = await loadConfig(disk, dataDir)
  if (config) return config
  throw new ConfigError(
    `${dataDir} has no ${CONFIG_NAME}: found a mesh there with \`silo-mesh init\`, or enter one with ` +
      '`silo-mesh join <token> --server <name>`',
  )
}

async function hasConfig(disk: Disk, directory: string): Promise<boolean> {
  return (await list(disk, directory)).includes(CONFIG_NAME)
}

/** Nothing for what is no directory or may not be read. */
async function list(disk: Disk, directory: string): Promise<string[]> {
  try {
    return await disk.list(directory)
  } catch (error) {
    if (error instanceof DiskError) return []
    throw error
  }
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}
