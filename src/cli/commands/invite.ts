import type { Command } from 'commander'
import { MIN_SECRET_BYTES } from '../../link/link-manager-options.js'
import { readSecretFile } from '../../node/server-key.js'
import { RefusedError } from '../../sync/errors.js'
import { configPath, nodeOptions } from '../config-file.js'
import type { CommandContext } from '../context.js'
import { requireConfig } from '../data-directory.js'
import { printJson } from '../output.js'
import { encodeToken, MAX_TOKEN_ADDRESSES } from '../token.js'
import { addClientOptions, type CommonOptions, collect, withClient } from './common.js'
import { TOKEN_VARIABLE } from './join.js'
import type { MemberJson } from './members.js'

export function addInvite(program: Command, context: CommandContext): void {
  const command = program.command('invite').description('print a token with which another server can join')
  addClientOptions(command).addHelpText(
    'after',
    '\nThe token holds the secret of the mesh: whoever has it can enter. It does not expire.',
  )
  command.action((options: CommonOptions) => invite(context, options))
}

async function invite(context: CommandContext, options: CommonOptions): Promise<void> {
  await withClient(context, options, async (client, dataDir) => {
    const members = await collect<MemberJson>(client.stream('members'))
    // The secret is read from its file, never asked of the node: it does not travel.
    const config = await requireConfig(context.environment.disk, dataDir)
    const { secretFile } = nodeOptions(dataDir, config)
    const secret = await readSecretFile(context.environment.disk, secretFile!, MIN_SECRET_BYTES)
    const addresses = doors(members)
    if (addresses.length === 0) {
      throw new RefusedError(
        `no server of this mesh listens: set listen in ${configPath(dataDir)} and restart it`,
      )
    }
    const token = encodeToken({ clusterId: config.cluster_id, addresses, secret })
    if (options.json) printJson(context.stdout, { token, cluster_id: config.cluster_id, addresses })
    else context.stdout.write(`${token}\n`)
    context.stderr.write(
      `This token holds the mesh secret: pass it on like a password. On the other server:\n` +
        `  silo-mesh join <token> --server <name>     or, out of the process list: ${TOKEN_VARIABLE}=… silo-mesh join --server <name>\n`,
    )
  })
}

/** This server first, then others that are alive. */
function doors(members: readonly MemberJson[]): string[] {
  const open = members.filter(({ address, self, status }) => address !== '' && (self || status === 'alive'))
  open.sort((left, right) => Number(right.self) - Number(left.self))
  return open.slice(0, MAX_TOKEN_ADDRESSES).map(({ address }) => address)
}
