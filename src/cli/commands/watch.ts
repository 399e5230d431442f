import type { Command } from 'commander'
import { isoTime } from '../../environment/time-text.js'
import type { CommandContext } from '../context.js'
import { type JsonValue, painter, printJson } from '../output.js'
import { interruption } from '../signals.js'
import { addClientOptions, type CommonOptions, withClient } from './common.js'

interface WatchOptions extends CommonOptions {
  readonly storage?: string
}

type WatchedJson = Readonly<Record<string, string | number | null>> & { readonly type: string }

export function addWatch(program: Command, context: CommandContext): void {
  const command = program
    .command('watch')
    .description('quantities, events and links as they change, until Ctrl-C')
    .option('--storage <id>', 'only the quantities of that storage')
  addClientOptions(command).addHelpText(
    'after',
    '\nWith --json each change is one object on a line of its own, told apart by "type";\n' +
      'the first one, "watching", says that from now on nothing is missed. A reader that is too\n' +
      'slow skips steps in between of a quantity; its last value always comes.',
  )
  command.action((options: WatchOptions) => watch(context, options))
}

async function watch(context: CommandContext, options: WatchOptions): Promise<void> {
  const { stdout, stderr, variables, environment } = context
  const { signal, release } = interruption(environment.clock)
  const paint = painter(stdout, variables)
  try {
    await withClient(context, options, async (client) => {
      const params = options.storage === undefined ? {} : { storage: options.storage }
      for await (const item of client.follow('watch', params, signal)) {
        if ((item as WatchedJson).type === 'watching') stderr.write('watching; Ctrl-C ends\n')
        if (options.json) {
          printJson(stdout, item as JsonValue)
          continue
        }
        const when = isoTime(environment.clock.wallMs()).slice(11, 23)
        stdout.write(`${paint(when, 'dim')} ${describe(item as WatchedJson)}\n`)
      }
    })
  } finally {
    release()
  }
}

function describe(item: WatchedJson): string {
  switch (item.type) {
    case 'watching':
      return `this is ${item.server_id}`
    case 'change':
      return `${item.storage}${item.world === null ? '' : ` (${item.world})`}  ${item.item}  ${item.quantity}`
    case 'event':
      return `${item.event_type}  ${item.entity_id}  (from ${item.origin})`
    case 'link_up':
      return `link to ${item.server_id} is open`
    case 'link_down':
      return `link to ${item.server_id} has closed: ${item.reason}`
    case 'link_refused':
      return `link with ${item.peer} refused (${item.reason}): ${item.detail}`
    default: {
      const { type, ...fields } = item
      return `${type}  ${JSON.stringify(fields)}`
    }
  }
}
