import { isAbsolute, join } from 'node:path'
import * as v from 'valibot'
import type { Disk } from '../environment/environment.js'
import { readTextFile, writeTextFile } from '../environment/text-file.js'
import { checkOptions, type MeshNodeOptions } from '../node/config.js'
import { ConfigError } from '../sync/errors.js'

export const CONFIG_NAME = 'config.json'
const MAX_CONFIG_BYTES = 64 * 1024

const schema = v.strictObject({
  cluster_id: v.string(),
  server_id: v.string(),
  secret_file: v.string(),
  listen: v.optional(v.strictObject({ host: v.string(), port: v.number() })),
  advertise: v.optional(v.string()),
  peers: v.optional(v.array(v.string())),
  worlds: v.optional(v.array(v.string())),
  durability: v.optional(v.picklist(['sync', 'group'])),
  sync_interval_ms: v.optional(v.number()),
  heartbeat_interval_ms: v.optional(v.number()),
  checksum_interval_ms: v.optional(v.number()),
  acceptable_pause_ms: v.optional(v.number()),
  rejoin_grace_ms: v.optional(v.number()),
  retention_ms: v.optional(v.number()),
  operation_retention_ms: v.optional(v.number()),
  run_transfers: v.optional(v.boolean()),
  compression: v.optional(v.boolean()),
  ledger: v.optional(
    v.strictObject({ retention_ms: v.optional(v.number()), max_bytes: v.optional(v.number()) }),
  ),
})

/** `config.json` of a data directory. */
export type FileConfig = v.InferOutput<typeof schema>

/** What `init` and `join` write: a week, at most 64 MiB. */
export const DEFAULT_LEDGER = { retention_ms: 7 * 24 * 60 * 60 * 1000, max_bytes: 64 * 1024 * 1024 } as const

/** One line a key, for `init --help` and docs/cli.md; a test holds both against the schema. */
export const CONFIG_KEYS: Readonly<Record<keyof FileConfig, string>> = {
  cluster_id: 'name of the mesh; servers of another one are refused',
  server_id: 'lasting name of this server, unique in the mesh',
  secret_file:
    'file with the mesh secret (hex or base64url), relative to this directory; keep it at mode 0600',
  listen: '{ "host", "port" } to listen on; left out: this server only dials; port 0 picks a free one',
  advertise:
    'ws://host:port that others should dial, where it differs from listen (0.0.0.0, NAT, containers)',
  peers: 'ws://host:port of servers to begin with; further ones are learned from the mesh',
  worlds: 'worlds whose storages this server hosts, beside the shared ones',
  durability:
    '"group" (default): writes are journalled within milliseconds; "sync": a withdrawal that is awaited waits for it',
  sync_interval_ms: 'comparison and repair with a random peer this often; default 1000',
  heartbeat_interval_ms: 'life signs this often; default 1000',
  checksum_interval_ms: 'checksums are compared with a random peer this often; default 60000',
  acceptable_pause_ms: 'a silence that is normal for these servers; default 2000',
  rejoin_grace_ms: 'how long a restarted server waits for further peers after the first; default 2000',
  retention_ms: 'how long published events are kept; default 3600000',
  operation_retention_ms: 'how long operation ids are remembered; default 86400000',
  run_transfers:
    'whether this server moves the items of the transfers that it owns; default true; false: the application does',
  compression: 'compress large frames; default true',
  ledger:
    '{ "retention_ms", "max_bytes" }: keeps a ledger of what is done here (`silo-mesh ledger`); left out: none',
}

export function configPath(dataDir: string): string {
  return `${dataDir}/${CONFIG_NAME}`
}

/** @throws ConfigError naming the file and the key; undefined when there is no such file */
export async function loadConfig(disk: Disk, dataDir: string): Promise<FileConfig | undefined> {
  const text = await readTextFile(disk, configPath(dataDir), MAX_CONFIG_BYTES)
  return text === undefined ? undefined : parseConfig(dataDir, text)
}

/** @throws ConfigError naming the file and the key */
export function parseConfig(dataDir: string, text: string): FileConfig {
  const path = configPath(dataDir)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new ConfigError(`${path} is not JSON: ${(error as Error).message}`, { cause: error })
  }
  const result = v.safeParse(schema, value)
  if (!result.success) {
    const [issue] = result.issues
    const key = issue.path?.map(({ key }) => String(key)).join('.') ?? 'the whole'
    const known = issue.type === 'strict_object' ? `; known keys: ${Object.keys(CONFIG_KEYS).join(', ')}` : ''
    throw new ConfigError(`${path}: ${key}: ${issue.message}${known}`)
  }
  nodeOptions(dataDir, result.output)
  return result.output
}

/** The node's options for a config file, checked. @throws ConfigError */
export function nodeOptions(dataDir: string, file: FileConfig): MeshNodeOptions {
  const path = configPath(dataDir)
  const { secret_file: secretFile, listen, advertise, peers, worlds, durability, compression, ledger } = file
  if (listen && isWildcard(listen.host) && advertise === undefined) {
    throw new ConfigError(
      `${path}: listen.host ${listen.host} is every interface: set advertise to the address that others dial`,
    )
  }
  const options: MeshNodeOptions = {
    clusterId: file.cluster_id,
    serverId: file.server_id,
    secretFile: isAbsolute(secretFile) ? secretFile : join(dataDir, secretFile),
    dataDir,
    ...(listen && { listen }),
    ...(advertise !== undefined && { advertise }),
    ...(peers && { peers }),
    ...(worlds && { worlds }),
    ...(durability && { durability }),
    ...(file.sync_interval_ms !== undefined && { syncIntervalMs: file.sync_interval_ms }),
    ...(file.heartbeat_interval_ms !== undefined && { heartbeatIntervalMs: file.heartbeat_interval_ms }),
    ...(file.checksum_interval_ms !== undefined && { checksumIntervalMs: file.checksum_interval_ms }),
    ...(file.acceptable_pause_ms !== undefined && { acceptablePauseMs: file.acceptable_pause_ms }),
    ...(file.rejoin_grace_ms !== undefined && { rejoinGraceMs: file.rejoin_grace_ms }),
    ...(file.retention_ms !== undefined && { retentionMs: file.retention_ms }),
    ...(file.operation_retention_ms !== undefined && { operationRetentionMs: file.operation_retention_ms }),
    ...(file.run_transfers !== undefined && { runTransfers: file.run_transfers }),
    ...(compression !== undefined && { compression }),
    ...(ledger && {
      ledger: {
        ...(ledger.retention_ms !== undefined && { retentionMs: ledger.retention_ms }),
        ...(ledger.max_bytes !== undefined && { maxBytes: ledger.max_bytes }),
      },
    }),
  }
  try {
    checkOptions(options)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    // The node names its options as TypeScript does.
    const message = error.message.replace(/^[A-Za-z.]+(?=:)/, snakeCase)
    throw new ConfigError(`${path}: ${message}`, { cause: error })
  }
  return options
}

/** @throws ConfigError when the node would refuse it; DiskError */
export async function saveConfig(disk: Disk, dataDir: string, file: FileConfig): Promise<void> {
  const text = `${JSON.stringify(file, undefined, 2)}\n`
  parseConfig(dataDir, text)
  await writeTextFile(disk, dataDir, CONFIG_NAME, text)
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::' || host === '[::]'
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}
