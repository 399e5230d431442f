import type { Command } from 'commander'
import { isoTime } from '../../environment/time-text.js'
import { UsageError } from '../../sync/errors.js'
import type { CommandContext } from '../context.js'
import { type JsonValue, printJson, printTable } from '../output.js'
import {
  addClientOptions,
  addTimeout,
  appended,
  askAll,
  askStrong,
  type CommonOptions,
  parseMetadata,
  type TimedOptions,
} from './common.js'

interface AnchorJson {
  readonly id: string
  readonly storage: string
  readonly world: string
  readonly position: { readonly x: number; readonly y: number; readonly z: number }
  readonly metadata: Readonly<Record<string, JsonValue>>
  readonly version: number
  readonly created_by: string
  readonly created_at_ms: number
  readonly updated_by: string
  readonly updated_at_ms: number
}

interface ListOptions extends CommonOptions {
  readonly world?: string
  readonly storage?: string
}

interface CreateOptions extends TimedOptions {
  readonly world: string
  readonly at: string
  readonly id?: string
  readonly metadata?: string[]
}

export function addAnchor(program: Command, context: CommandContext): void {
  const anchor = program
    .command('anchor')
    .description('blocks in a world that open a storage (strongly consistent)')
  const list = anchor
    .command('list')
    .description('all anchors, or those of a world or a storage')
    .option('--world <id>', 'only in that world')
    .option('--storage <id>', 'only those that open that storage')
  addClientOptions(list).action((options: ListOptions) => listAnchors(context, options))
  const show = anchor
    .command('show')
    .description('one anchor')
    .argument('<id>')
    .option('--linearizable', 'ask the strong group: as new as can be, and an error without a majority')
  addTimeout(addClientOptions(show)).action(
    (id: string, options: TimedOptions & { linearizable?: boolean }) => showAnchor(context, id, options),
  )
  const create = anchor
    .command('create')
    .description('make an anchor; one at each position')
    .argument('<storage>')
    .requiredOption('--world <id>', 'world in which it is')
    .requiredOption('--at <x,y,z>', 'where, like --at=-12,64,3')
    .option('--id <uuid>', 'for a retry after an unknown outcome: the same id makes one anchor')
    .option('--metadata <name=value>', 'a small fact to keep with it (repeatable)', appended)
  addTimeout(addClientOptions(create)).action((storage: string, options: CreateOptions) =>
    createAnchor(context, storage, options),
  )
  const remove = anchor
    .command('delete')
    .description('remove an anchor')
    .argument('<id>')
    .option('--cascade', 'with the transfers that begin or end at it')
  addTimeout(addClientOptions(remove)).action((id: string, options: TimedOptions & { cascade?: boolean }) =>
    deleteAnchor(context, id, options),
  )
}

async function listAnchors(context: CommandContext, options: ListOptions): Promise<void> {
  const { world, storage } = options
  const params = { ...(world !== undefined && { world }), ...(storage !== undefined && { storage }) }
  const all = await askAll<AnchorJson>(context, options, 'anchors', params)
  if (options.json) {
    printJson(context.stdout, { anchors: all.map((anchor) => ({ ...anchor })) })
    return
  }
  if (all.length === 0) context.stderr.write('no anchor as this server sees it\n')
  const rows = all.map((each) => [each.id, each.storage, each.world, place(each), each.created_by])
  printTable(context.stdout, ['anchor', 'storage', 'world', 'position', 'made by'], rows)
}

async function showAnchor(
  context: CommandContext,
  id: string,
  { linearizable = false, ...options }: TimedOptions & { readonly linearizable?: boolean },
): Promise<void> {
  const anchor = await askStrong<AnchorJson>(context, options, 'anchor', { id, linearizable })
  if (options.json) {
    printJson(context.stdout, { ...anchor })
    return
  }
  const lines: [string, string][] = [
    ['anchor', anchor.id],
    ['storage', anchor.storage],
    ['position', `${anchor.world} ${place(anchor)}`],
    ['version', String(anchor.version)],
    ['made', `${isoTime(anchor.created_at_ms)} by ${anchor.created_by}`],
    ['changed', `${isoTime(anchor.updated_at_ms)} by ${anchor.updated_by}`],
    ...Object.entries(anchor.metadata).map(([name, value]): [string, string] => [`  ${name}`, String(value)]),
  ]
  for (const [name, value] of lines) context.stdout.write(`${name.padEnd(11)}${value}\n`)
}

async function createAnchor(
  context: CommandContext,
  storage: string,
  { world, at, id, metadata, ...options }: CreateOptions,
): Promise<void> {
  const params = {
    storage,
    world,
    position: parsePosition(at),
    ...(id !== undefined && { id }),
    ...(metadata && { metadata: parseMetadata(metadata) }),
  }
  const anchor = await askStrong<AnchorJson>(context, options, 'anchor_create', params)
  if (options.json) printJson(context.stdout, { ...anchor })
  else context.stdout.write(`anchor ${anchor.id} opens ${storage} at ${world} ${place(anchor)}\n`)
}

async function deleteAnchor(
  context: CommandContext,
  id: string,
  { cascade = false, ...options }: TimedOptions & { readonly cascade?: boolean },
): Promise<void> {
  const done = await askStrong<JsonValue>(context, options, 'anchor_delete', { id, cascade })
  if (options.json) printJson(context.stdout, done)
  else context.stdout.write(`anchor ${id} is gone\n`)
}

function place({ position: { x, y, z } }: AnchorJson): string {
  return `${x},${y},${z}`
}

function parsePosition(text: string): { x: number; y: number; z: number } {
  const match = /^(-?\d{1,10}),(-?\d{1,10}),(-?\d{1,10})$/.exec(text)
  if (!match)
    throw new UsageError(`--at ${JSON.stringify(text)}: x,y,z in whole numbers expected, like --at=-12,64,3`)
  return { x: Number(match[1]), y: Number(match[2]), z: Number(match[3]) }
}
