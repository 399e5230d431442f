import type { Command } from 'commander'
import type { CommandContext } from '../context.js'
import { type JsonValue, painter, printJson, printTable } from '../output.js'
import { addClientOptions, ask, type CommonOptions } from './common.js'

interface StatusJson {
  readonly server_id: string
  readonly cluster_id: string
  readonly replica: string
  readonly address: string
  readonly durability: string
  readonly journal: 'ok' | 'full' | 'failed'
  readonly numbering_held: boolean
  readonly links: number
  readonly members: number
  readonly partitions: readonly {
    readonly partition: string
    readonly cells: number
    readonly version_vector: Readonly<Record<string, number>>
    readonly settled: boolean
    readonly unnumbered: number
    readonly checksum: number
  }[]
  readonly uptime_ms: number
}

export function addStatus(program: Command, context: CommandContext): void {
  const command = program.command('status').description('how a running server is')
  addClientOptions(command).action((options: CommonOptions) => status(context, options))
}

async function status(context: CommandContext, options: CommonOptions): Promise<void> {
  const { stdout, variables } = context
  const status = await ask<StatusJson>(context, options, 'status')
  if (options.json) {
    printJson(stdout, status as unknown as JsonValue)
    return
  }
  const paint = painter(stdout, variables)
  const lines: [string, string][] = [
    ['server', `${paint(status.server_id, 'strong')} of ${status.cluster_id}`],
    ['address', status.address === '' ? '(only dials)' : status.address],
    ['replica', status.replica],
    ['journal', paint(status.journal, status.journal === 'ok' ? 'good' : 'bad')],
    ['durability', status.durability],
    ['links', `${status.links} open, ${status.members} servers known`],
    ['up for', span(status.uptime_ms)],
  ]
  if (status.numbering_held) {
    const waiting = status.partitions.reduce((sum, { unnumbered }) => sum + unnumbered, 0)
    lines.push([
      'waiting',
      `restarted, and has not yet heard from its peers: own writes (to ${waiting} entries) stay here until then`,
    ])
  }
  for (const [name, value] of lines) stdout.write(`${name.padEnd(11)}${value}\n`)
  const rows = status.partitions.map(({ partition, cells, settled, version_vector, checksum }) => [
    partition === '' ? '(shared)' : partition,
    String(cells),
    String(Object.keys(version_vector).length),
    settled ? 'yes' : paint('catching up', 'doubtful'),
    (checksum >>> 0).toString(16).padStart(8, '0'),
  ])
  printTable(stdout, ['partition', 'cells', 'replicas', 'settled', 'checksum'], rows)
}

function span(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000)
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
}
