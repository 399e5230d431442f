import type { Command } from 'commander'
import type { CommandContext } from '../context.js'
import { type JsonValue, painter, printJson, printTable, type Tone } from '../output.js'
import { addClientOptions, ask, askAll, type CommonOptions } from './common.js'

export interface MemberJson {
  readonly server_id: string
  readonly status: string
  readonly self: boolean
  readonly linked: boolean
  readonly address: string
  readonly replica: string
  readonly worlds: string[]
  readonly version: string
}

const TONES: Readonly<Record<string, Tone>> = { alive: 'good', suspect: 'doubtful', dead: 'bad', left: 'dim' }

export function addMembers(program: Command, context: CommandContext): void {
  const command = program.command('members').description('the servers of the mesh, as one of them sees them')
  addClientOptions(command).action((options: CommonOptions) => members(context, options))
  const releasing = program
    .command('release')
    .argument('<server>', 'a server that is gone and has lost its disk')
    .description('give up the name of a server whose key is lost, so that it may come back with a new one')
  addClientOptions(releasing).action((server: string, options: CommonOptions) =>
    release(context, server, options),
  )
}

async function release(context: CommandContext, server: string, options: CommonOptions): Promise<void> {
  const done = await ask<JsonValue>(context, options, 'members_release', { server_id: server })
  if (options.json) printJson(context.stdout, done)
  else context.stdout.write(`${server} may join with a new key\n`)
}

async function members(context: CommandContext, options: CommonOptions): Promise<void> {
  const { stdout, variables } = context
  const all = await askAll<MemberJson>(context, options, 'members')
  if (options.json) {
    printJson(stdout, { members: all.map((member) => ({ ...member })) })
    return
  }
  const paint = painter(stdout, variables)
  const rows = all.map(({ server_id, status, self, linked, address, worlds, version }) => [
    server_id,
    self ? paint('this server', 'strong') : paint(status, TONES[status] ?? 'dim'),
    self ? '' : linked ? 'yes' : 'no',
    address === '' ? '(only dials)' : address,
    worlds.join(', '),
    version,
  ])
  printTable(stdout, ['server', 'status', 'linked', 'address', 'worlds', 'version'], rows)
}
