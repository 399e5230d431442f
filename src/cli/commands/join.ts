import { type Command, Option } from 'commander'
import { writeTextFile } from '../../environment/text-file.js'
import { MIN_SECRET_BYTES } from '../../link/link-manager-options.js'
import type { MeshNode } from '../../node/mesh-node.js'
import { readSecretFile } from '../../node/server-key.js'
import { ConfigError, UsageError } from '../../sync/errors.js'
import { parseHostAndPort } from '../address.js'
import {
  CONFIG_NAME,
  DEFAULT_LEDGER,
  type FileConfig,
  loadConfig,
  nodeOptions,
  saveConfig,
} from '../config-file.js'
import type { CommandContext } from '../context.js'
import { findDataDir, homeOf, requireConfig } from '../data-directory.js'
import { runInForeground } from '../foreground.js'
import { createLogger, LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from '../logs.js'
import { printJson } from '../output.js'
import { decodeToken, type Invitation, MAX_TOKEN_LENGTH } from '../token.js'
import { addDataDir, addJson, appended, type CommonOptions } from './common.js'
import { SECRET_NAME } from './init.js'

export const TOKEN_VARIABLE = 'SILO_MESH_TOKEN'
const DEFAULT_LISTEN = '127.0.0.1:0'

interface JoinOptions extends CommonOptions {
  readonly server?: string
  readonly listen?: string
  readonly advertise?: string
  readonly world?: string[]
  readonly logLevel: LogLevel
  readonly logFormat?: LogFormat
}

interface Home {
  readonly dataDir: string
  readonly config: FileConfig
  readonly isFirstEntry: boolean
}

const HELP = `
Without a token: runs the server of an existing data directory (from init, or from an earlier join).
With a token: writes the config and the key of a new server into its data directory, then runs it. A token
that was used before may be given again; the data directory then counts.

The token holds the secret of the mesh. As an argument it shows in the process list and in the shell's history;
to keep it out of both, give - and write it to stdin, or set ${TOKEN_VARIABLE}.

Logs go to stderr: for eyes on a terminal, JSON elsewhere. SIGINT or SIGTERM stops the server properly (what it
took is durable, peers are told); a second signal kills it, which loses nothing that was acknowledged either.`

export function addJoin(program: Command, context: CommandContext): void {
  const command = program
    .command('join')
    .description('run a server in the foreground; with a token, enter a mesh first')
    .argument('[token]', `from \`silo-mesh invite\`; - reads it from stdin; or set ${TOKEN_VARIABLE}`)
    .option('-s, --server <id>', 'name of this server (needed with a token)')
    .option(
      '-l, --listen <host:port>',
      `with a token: where it listens (default: ${DEFAULT_LISTEN}, any free port)`,
    )
    .option('--advertise <ws://host:port>', 'with a token: what others dial, where it differs from --listen')
    .option('--world <id>', 'with a token: a world that it hosts (repeatable)', appended)
    .addOption(new Option('--log-level <level>', 'least important log').choices(LOG_LEVELS).default('info'))
    .addOption(new Option('--log-format <format>', 'how logs look').choices(LOG_FORMATS))
  addJson(addDataDir(command, 'default: ./data/<server>, or the only one in ./data')).addHelpText(
    'after',
    HELP,
  )
  command.action((token: string | undefined, options: JoinOptions) => join(context, token, options))
}

async function join(
  context: CommandContext,
  argument: string | undefined,
  options: JoinOptions,
): Promise<void> {
  const token = await readToken(context, argument, options)
  const home =
    token === undefined
      ? await returnHome(context, options)
      : await enter(context, decodeToken(token), options)
  const logger = createLogger(context, options.logLevel, options.logFormat)
  const onStarted = (node: MeshNode, socketPath: string) => {
    const { serverId, clusterId } = node.identity
    logger.info(
      { serverId, clusterId, address: node.address, dataDir: home.dataDir },
      'running; Ctrl-C stops',
    )
    if (options.json)
      printJson(context.stdout, {
        server_id: serverId,
        cluster_id: clusterId,
        address: node.address,
        data_dir: home.dataDir,
        control_socket: socketPath,
        process_id: process.pid,
      })
  }
  await runInForeground(context, { ...home, logger, onStarted })
}

/** The variable often stays set where a server is restarted by a supervisor; it is then no new entry. */
async function readToken(
  context: CommandContext,
  argument: string | undefined,
  { server }: JoinOptions,
): Promise<string | undefined> {
  if (argument === '-') return readAll(context.stdin)
  if (argument !== undefined) return argument
  const variable = context.variables[TOKEN_VARIABLE]
  return variable && server !== undefined ? variable : undefined
}

async function readAll(stdin: CommandContext['stdin']): Promise<string> {
  let text = ''
  for await (const chunk of stdin) {
    text += chunk.toString()
    if (text.length > MAX_TOKEN_LENGTH) throw new UsageError('stdin holds more than an invite token')
  }
  return text
}

async function returnHome(context: CommandContext, options: JoinOptions): Promise<Home> {
  for (const name of ['listen', 'advertise', 'world'] as const) {
    if (options[name] !== undefined)
      throw new UsageError(
        `--${name} goes with a token; for this server edit ${CONFIG_NAME} in its data directory`,
      )
  }
  const { server } = options
  const dataDir =
    server === undefined
      ? await findDataDir(options.dataDir, context)
      : homeOf(server, options.dataDir, context)
  const config = await requireConfig(context.environment.disk, dataDir)
  if (server !== undefined && config.server_id !== server)
    throw new ConfigError(`${dataDir} belongs to server ${config.server_id}, not to ${server}`)
  return { dataDir, config, isFirstEntry: false }
}

async function enter(context: CommandContext, invitation: Invitation, options: JoinOptions): Promise<Home> {
  const { server } = options
  if (server === undefined) throw new UsageError('--server <name> is needed with a token')
  const { disk } = context.environment
  const dataDir = homeOf(server, options.dataDir, context)
  const existing = await loadConfig(disk, dataDir)
  if (existing) {
    await requireSame(context, dataDir, existing, invitation, server)
    return { dataDir, config: existing, isFirstEntry: false }
  }
  const config: FileConfig = {
    cluster_id: invitation.clusterId,
    server_id: server,
    secret_file: SECRET_NAME,
    listen: parseHostAndPort(options.listen ?? DEFAULT_LISTEN),
    ...(options.advertise !== undefined && { advertise: options.advertise }),
    peers: [...invitation.addresses],
    ...(options.world && { worlds: options.world }),
    ledger: DEFAULT_LEDGER,
  }
  nodeOptions(dataDir, config)
  await disk.makeDirectory(dataDir)
  await writeTextFile(disk, dataDir, SECRET_NAME, `${Buffer.from(invitation.secret).toString('hex')}\n`)
  await saveConfig(disk, dataDir, config)
  return { dataDir, config, isFirstEntry: true }
}

async function requireSame(
  context: CommandContext,
  dataDir: string,
  existing: FileConfig,
  invitation: Invitation,
  server: string,
): Promise<void> {
  const { secretFile } = nodeOptions(dataDir, existing)
  const secret = await readSecretFile(context.environment.disk, secretFile!, MIN_SECRET_BYTES)
  const isSameMesh =
    existing.cluster_id === invitation.clusterId && Buffer.compare(secret, invitation.secret) === 0
  if (isSameMesh && existing.server_id === server) return
  throw new ConfigError(
    `${dataDir} already belongs to server ${existing.server_id} of mesh ${existing.cluster_id}, and the token is ` +
      `for ${isSameMesh ? 'the same mesh' : 'another mesh or key'}: give another --data-dir`,
  )
}
