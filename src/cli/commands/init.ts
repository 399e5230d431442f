import type { Command } from 'commander'
import { writeTextFile } from '../../environment/text-file.js'
import { MIN_SECRET_BYTES } from '../../link/link-manager-options.js'
import { readSecretFile } from '../../node/server-key.js'
import { ConfigError, RefusedError } from '../../sync/errors.js'
import { parseHostAndPort } from '../address.js'
import {
  CONFIG_KEYS,
  CONFIG_NAME,
  configPath,
  DEFAULT_LEDGER,
  type FileConfig,
  loadConfig,
  nodeOptions,
  saveConfig,
} from '../config-file.js'
import type { CommandContext } from '../context.js'
import { homeOf } from '../data-directory.js'
import { markFounding } from '../founding.js'
import { printJson } from '../output.js'
import { addDataDir, addJson, appended, type CommonOptions } from './common.js'

export const SECRET_NAME = 'mesh.key'
const SECRET_BYTES = 32
const DEFAULT_LISTEN = '127.0.0.1:7001'

interface InitOptions extends CommonOptions {
  readonly cluster: string
  readonly server: string
  readonly listen: string
  readonly advertise?: string
  readonly world?: string[]
}

export function addInit(program: Command, context: CommandContext): void {
  const command = program
    .command('init')
    .description('found a mesh: makes its key, and the config of its first server')
    .requiredOption('-c, --cluster <id>', 'name of the new mesh')
    .requiredOption('-s, --server <id>', 'name of its first server')
    .option('-l, --listen <host:port>', 'where it listens', DEFAULT_LISTEN)
    .option('--advertise <ws://host:port>', 'what others dial, where it differs from --listen')
    .option('--world <id>', 'a world that it hosts (repeatable)', appended)
  addJson(addDataDir(command, 'default: ./data/<server>')).addHelpText('after', configHelp())
  command.action((options: InitOptions) => init(context, options))
}

export function configHelp(): string {
  const width = Math.max(...Object.keys(CONFIG_KEYS).map((key) => key.length))
  const lines = Object.entries(CONFIG_KEYS).map(([key, meaning]) => `  ${key.padEnd(width)}  ${meaning}`)
  return `\nKeys of ${CONFIG_NAME} (JSON; unknown keys are refused; read at the start of the node):\n${lines.join('\n')}`
}

async function init(context: CommandContext, options: InitOptions): Promise<void> {
  const { disk, random } = context.environment
  const dataDir = homeOf(options.server, options.dataDir, context)
  const config: FileConfig = {
    cluster_id: options.cluster,
    server_id: options.server,
    secret_file: SECRET_NAME,
    listen: parseHostAndPort(options.listen),
    ...(options.advertise !== undefined && { advertise: options.advertise }),
    ...(options.world && { worlds: options.world }),
    ledger: DEFAULT_LEDGER,
  }
  nodeOptions(dataDir, config)
  if ((await loadConfig(disk, dataDir)) !== undefined) {
    throw new RefusedError(
      `${configPath(dataDir)} exists: a mesh is founded once; start this server with \`silo-mesh join\``,
    )
  }
  await disk.makeDirectory(dataDir)
  if (!(await hasSecret(context, dataDir))) {
    await writeTextFile(
      disk,
      dataDir,
      SECRET_NAME,
      `${Buffer.from(random.bytes(SECRET_BYTES)).toString('hex')}\n`,
    )
  }
  await markFounding(disk, dataDir)
  // Last, since its being there says that all of it is.
  await saveConfig(disk, dataDir, config)
  report(context, options, dataDir)
}

/** A founding that was cut short may have left its key; that one is used, not replaced. */
async function hasSecret(context: CommandContext, dataDir: string): Promise<boolean> {
  const { disk } = context.environment
  if (!(await disk.list(dataDir)).includes(SECRET_NAME)) return false
  const path = `${dataDir}/${SECRET_NAME}`
  try {
    await readSecretFile(disk, path, MIN_SECRET_BYTES)
  } catch (error) {
    if (error instanceof ConfigError)
      throw new RefusedError(`${path} exists and is no mesh key: move it away`, { cause: error })
    throw error
  }
  return true
}

function report(context: CommandContext, { cluster, server, json }: InitOptions, dataDir: string): void {
  const configFile = configPath(dataDir)
  const secretFile = `${dataDir}/${SECRET_NAME}`
  if (json) {
    printJson(context.stdout, {
      cluster_id: cluster,
      server_id: server,
      data_dir: dataDir,
      config_file: configFile,
      secret_file: secretFile,
    })
    return
  }
  context.stdout.write(
    `Founded mesh ${cluster} with server ${server}.
  config  ${configFile}  (silo-mesh init --help lists its keys)
  key     ${secretFile}  (the secret of the mesh: keep it, tell nobody)

Next:
  silo-mesh join --data-dir ${dataDir}      run this server; its first start founds the strong group
  silo-mesh invite --data-dir ${dataDir}    while it runs: a token for the next server
`,
  )
}
