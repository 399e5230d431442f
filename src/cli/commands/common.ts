import { type Command, InvalidArgumentError as CommanderArgumentError } from 'commander'
import type { CommandContext } from '../context.js'
import { ControlClient } from '../control-client.js'
import { DATA_DIR_VARIABLE, findDataDir } from '../data-directory.js'

export interface CommonOptions {
  readonly dataDir?: string
  readonly json?: boolean
}

export function addJson(command: Command): Command {
  return command.option('--json', 'JSON on stdout, for scripts')
}

export function addDataDir(command: Command, fallback: string): Command {
  return command.option(
    '-d, --data-dir <path>',
    `data directory of the server (or ${DATA_DIR_VARIABLE}; ${fallback})`,
  )
}

/** Options of the commands that ask a running node. */
export function addClientOptions(command: Command): Command {
  return addJson(addDataDir(command, 'default: this directory, or the only one in ./data'))
}

/** Asks the node of the data directory that the options mean. */
export async function withClient<T>(
  context: CommandContext,
  { dataDir }: CommonOptions,
  work: (client: ControlClient, dataDir: string) => Promise<T>,
): Promise<T> {
  const directory = await findDataDir(dataDir, context)
  using client = await ControlClient.connect(directory, context.environment.scheduler)
  return await work(client, directory)
}

export async function collect<T>(items: AsyncIterable<unknown>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item as T)
  return all
}

/** Parses an option as a whole number in a range, for commander. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= min && value <= max) return value
    throw new CommanderArgumentError(`a whole number from ${min} to ${max} expected.`)
  }
}

export function appended(text: string, before: readonly string[] = []): string[] {
  return [...before, text]
}
