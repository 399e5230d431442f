import * as v from 'valibot'
import { type ConflictResolver, lowerIdResolver } from '../conflict/resolver.js'
import type { Environment } from '../environment/environment.js'
import { MIN_SECRET_BYTES } from '../link/link-manager-options.js'
import { checkClusterId, checkServerId, checkWorldId } from '../sync/checks.js'
import { ConfigError } from '../sync/errors.js'
import { type Logger, silentLogger } from '../sync/logger.js'

/** How durable a write is when its promise resolves, and when it may leave the server. */
export type Durability = 'sync' | 'group' | 'memory'

export interface MeshNodeOptions {
  /** Name of the mesh; servers of another one are refused. */
  readonly clusterId: string
  /** Lasting name of this server, unique in the mesh. */
  readonly serverId: string
  /** The mesh secret, at least 16 bytes; every server of the mesh has the same. Either this … */
  readonly secret?: Uint8Array
  /** … or a file that holds it as text (hex or base64url). */
  readonly secretFile?: string
  /** Where journal, snapshots and the server's key live. Left out: memory only. */
  readonly dataDir?: string
  /** Left out: this server only dials. Port 0 picks a free one. */
  readonly listen?: { readonly host: string; readonly port: number }
  /** What others should dial (`ws://host:port`), where it differs from `listen`. */
  readonly advertise?: string
  /** Addresses to begin with (`ws://host:port`); further ones are learned from the mesh. */
  readonly peers?: readonly string[]
  /** Worlds whose partitions this server hosts, beside the shared one. */
  readonly worlds?: readonly string[]
  /**
   * 'group' (default with a dataDir): `durable` resolves after the group commit, a few milliseconds at most.
   * 'sync': the same, and `withdraw`, the write that is awaited, waits for it. 'memory': no disk.
   */
  readonly durability?: Durability
  /** Anti-entropy with a random peer this often; default 1,000. Lower: faster repair, more traffic. */
  readonly syncIntervalMs?: number
  /** Life signs this often; default 1,000. Failure detection takes a handful of these. */
  readonly heartbeatIntervalMs?: number
  /** Checksums are compared with a random peer this often; default 60,000. */
  readonly checksumIntervalMs?: number
  /** A silence that is normal for this network of game servers; default 2,000. */
  readonly acceptablePauseMs?: number
  /** After a restart writes get no number until so long after the first peer was met; default 2,000. */
  readonly rejoinGraceMs?: number
  /** How long published events and expired shared state are kept; default one hour. */
  readonly retentionMs?: number
  /**
   * True at the very first start of the one server that founds the mesh's strong group; all others join it by
   * themselves. Refused when this server already belongs to a group.
   */
  readonly found?: boolean
  /**
   * Gives up the other voters of the strong group, which are lost for good, and goes on alone. Loses what only
   * they had; the value is the admission of that.
   */
  readonly recoverRaft?: 'accept-data-loss'
  /** The strong group: timings and size. */
  readonly raft?: RaftConfigOptions
  /** Decides which of two conflicting provisional withdrawals stands; default: the lower id. */
  readonly resolver?: ConflictResolver
  /** How long operation ids are remembered; default 24 hours. Each takes a cell on every server meanwhile. */
  readonly operationRetentionMs?: number
  /**
   * Whether this server moves the items of the transfers that it owns; default true. False leaves that to the
   * application (`MeshNode.ownedTransfers`), on every server alike, for any server may own any transfer.
   */
  readonly runTransfers?: boolean
  /**
   * Keeps a ledger of what is done on this server (`MeshNode.ledger`), in the data directory; without one, the last
   * 10,000 lines in memory. Left out: none.
   */
  readonly ledger?: LedgerConfigOptions
  /** Compress large frames; default true. */
  readonly compression?: boolean
  /** Gets what the node logs; default silent. A pino logger fits. */
  readonly logger?: Logger
  /** Time, randomness, network and disk; default the real ones. The simulator passes its own. */
  readonly environment?: Environment
}

export interface LedgerConfigOptions {
  /** Lines are kept so long; default 7 days. */
  readonly retentionMs?: number
  /** About the most bytes of the ledger's files; the oldest lines go first; default 64 MiB, at least 64 KiB. */
  readonly maxBytes?: number
}

export interface RaftConfigOptions {
  /** Between the leader's heartbeats; default 150. Higher: slower failover. */
  readonly heartbeatMs?: number
  /** Shortest silence after which a voter stands for election; default 1,000; at least four heartbeats. */
  readonly electionMs?: number
  /** Most voters, odd; default 5. The other servers are learners. */
  readonly maxVoters?: number
  /** A voter that has been gone for so long is replaced by a learner; default 30,000. */
  readonly voterGraceMs?: number
}

/** Options with every default in place. */
export interface NodeConfig {
  readonly clusterId: string
  readonly serverId: string
  readonly secret: Uint8Array | undefined
  readonly secretFile: string | undefined
  readonly dataDir: string | undefined
  readonly listen: { readonly host: string; readonly port: number } | undefined
  readonly advertise: string | undefined
  readonly peers: readonly string[]
  readonly worlds: readonly string[]
  readonly durability: Durability
  readonly syncIntervalMs: number
  readonly heartbeatIntervalMs: number
  readonly checksumIntervalMs: number
  readonly acceptablePauseMs: number
  readonly rejoinGraceMs: number
  readonly retentionMs: number
  readonly found: boolean
  readonly recoverRaft: 'accept-data-loss' | undefined
  readonly raft: Required<RaftConfigOptions>
  readonly resolver: ConflictResolver
  readonly operationRetentionMs: number
  readonly runTransfers: boolean
  readonly compression: boolean
  readonly ledger: Required<LedgerConfigOptions> | undefined
  readonly logger: Logger
}

const MAX_INTERVAL_MS = 24 * 60 * 60 * 1000
const MAX_RETENTION_MS = 10 * 366 * MAX_INTERVAL_MS
const DEFAULT_LEDGER_RETENTION_MS = 7 * MAX_INTERVAL_MS
const MIN_LEDGER_BYTES = 64 * 1024
const DEFAULT_LEDGER_BYTES = 64 * 1024 * 1024
const MAX_PEERS = 256
const MAX_WORLDS = 256

const milliseconds = (min: number) =>
  v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(MAX_INTERVAL_MS))
/** What is kept for people and their retries may be kept for years. */
const retention = v.pipe(v.number(), v.integer(), v.minValue(1_000), v.maxValue(MAX_RETENTION_MS))
const address = v.pipe(v.string(), v.regex(/^ws:\/\/[^\s/]+:\d{1,5}\/?$/, 'must look like ws://host:port'))

const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const

function hasMethods(value: unknown, names: readonly string[]): boolean {
  if (typeof value !== 'object' || value === null) return false
  return names.every((name) => typeof (value as Record<string, unknown>)[name] === 'function')
}

const schema = v.strictObject({
  clusterId: v.string(),
  serverId: v.string(),
  secret: v.optional(v.instance(Uint8Array)),
  secretFile: v.optional(v.pipe(v.string(), v.nonEmpty())),
  dataDir: v.optional(v.pipe(v.string(), v.nonEmpty())),
  listen: v.optional(
    v.strictObject({
      host: v.pipe(v.string(), v.nonEmpty()),
      port: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535)),
    }),
  ),
  advertise: v.optional(address),
  peers: v.optional(v.pipe(v.array(address), v.maxLength(MAX_PEERS)), []),
  worlds: v.optional(v.pipe(v.array(v.string()), v.maxLength(MAX_WORLDS)), []),
  durability: v.optional(v.picklist(['sync', 'group', 'memory'])),
  syncIntervalMs: v.optional(milliseconds(50), 1_000),
  heartbeatIntervalMs: v.optional(milliseconds(50), 1_000),
  checksumIntervalMs: v.optional(milliseconds(100), 60_000),
  acceptablePauseMs: v.optional(milliseconds(0), 2_000),
  rejoinGraceMs: v.optional(milliseconds(0), 2_000),
  retentionMs: v.optional(milliseconds(1_000), 3_600_000),
  found: v.optional(v.boolean(), false),
  recoverRaft: v.optional(v.literal('accept-data-loss')),
  raft: v.optional(
    v.strictObject({
      heartbeatMs: v.optional(milliseconds(10), 150),
      electionMs: v.optional(milliseconds(40), 1_000),
      maxVoters: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(15)), 5),
      voterGraceMs: v.optional(milliseconds(0), 30_000),
    }),
    {},
  ),
  resolver: v.optional(
    v.custom<ConflictResolver>((value) => hasMethods(value, ['resolve']), 'must have a method resolve'),
    lowerIdResolver,
  ),
  operationRetentionMs: v.optional(retention, MAX_INTERVAL_MS),
  runTransfers: v.optional(v.boolean(), true),
  compression: v.optional(v.boolean(), true),
  ledger: v.optional(
    v.strictObject({
      retentionMs: v.optional(retention, DEFAULT_LEDGER_RETENTION_MS),
      maxBytes: v.optional(
        v.pipe(v.number(), v.safeInteger(), v.minValue(MIN_LEDGER_BYTES)),
        DEFAULT_LEDGER_BYTES,
      ),
    }),
  ),
  logger: v.optional(
    v.custom<Logger>(
      (value) => hasMethods(value, LOG_LEVELS),
      `must have the methods ${LOG_LEVELS.join(', ')}`,
    ),
    silentLogger,
  ),
  environment: v.optional(v.custom<Environment>((value) => typeof value === 'object' && value !== null)),
})

/** Checks options and fills in defaults. @throws ConfigError that names the field. */
export function checkOptions(options: MeshNodeOptions): NodeConfig {
  const result = v.safeParse(schema, options)
  if (!result.success) {
    const [issue] = result.issues
    const path = issue.path?.map(({ key }) => String(key)).join('.') ?? 'options'
    throw new ConfigError(`${path}: ${issue.message}`)
  }
  const output = result.output
  checkNames(output.clusterId, output.serverId, output.worlds)
  if ((output.secret === undefined) === (output.secretFile === undefined)) {
    throw new ConfigError('exactly one of secret and secretFile is needed')
  }
  if (output.secret && output.secret.length < MIN_SECRET_BYTES) {
    throw new ConfigError(`secret: at least ${MIN_SECRET_BYTES} bytes, got ${output.secret.length}`)
  }
  const durability = output.durability ?? (output.dataDir === undefined ? 'memory' : 'group')
  if ((durability === 'memory') !== (output.dataDir === undefined)) {
    throw new ConfigError("dataDir goes with durability 'sync' or 'group', and 'memory' goes without one")
  }
  const { heartbeatMs, electionMs, maxVoters } = output.raft
  if (electionMs < 4 * heartbeatMs)
    throw new ConfigError('raft.electionMs: at least four times raft.heartbeatMs')
  if (maxVoters % 2 === 0) throw new ConfigError('raft.maxVoters: an odd number')
  if (output.found && output.recoverRaft) throw new ConfigError('found and recoverRaft exclude each other')
  const { environment: _, ...rest } = output
  return {
    ...rest,
    durability,
    secret: output.secret,
    secretFile: output.secretFile,
    dataDir: output.dataDir,
    listen: output.listen,
    advertise: output.advertise,
    recoverRaft: output.recoverRaft,
    ledger: output.ledger,
  }
}

function checkNames(clusterId: string, serverId: string, worlds: readonly string[]): void {
  try {
    checkClusterId(clusterId)
    checkServerId(serverId)
    for (const world of worlds) checkWorldId(world)
  } catch (error) {
    throw new ConfigError((error as Error).message, { cause: error })
  }
}
