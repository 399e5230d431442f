import { type Command, InvalidArgumentError as CommanderArgumentError } from 'commander'
import { UsageError } from '../../sync/errors.js'
import type { CommandContext } from '../context.js'
import { ControlClient } from '../control-client.js'
import { DATA_DIR_VARIABLE, findDataDir } from '../data-directory.js'
import type { JsonValue } from '../output.js'
import { DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS } from '../params.js'

type JsonObject = { readonly [name: string]: JsonValue }

export interface CommonOptions {
  readonly dataDir?: string
  readonly json?: boolean
}

export interface TimedOptions extends CommonOptions {
  readonly timeoutMs: number
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

/** Of commands that wait for the strong group. */
export function addTimeout(command: Command): Command {
  return command.option(
    '--timeout-ms <ms>',
    'how long to try',
    wholeNumber(1, MAX_TIMEOUT_MS),
    DEFAULT_TIMEOUT_MS,
  )
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

/** One answer of that node; `extraMs`: what it may take beyond the time of any answer. */
export async function ask<T>(
  context: CommandContext,
  options: CommonOptions,
  method: string,
  params: JsonObject = {},
  extraMs = 0,
): Promise<T> {
  return (await withClient(context, options, (client) => client.call(method, params, extraMs))) as T
}

/** The answer of methods that wait for the strong group: the node is told how long to try, and waited for as long. */
export function askStrong<T>(
  context: CommandContext,
  options: TimedOptions,
  method: string,
  params: JsonObject,
): Promise<T> {
  const { timeoutMs } = options
  return ask(context, options, method, { ...params, timeout_ms: timeoutMs }, timeoutMs)
}

/** All items of a stream of that node. */
export function askAll<T>(
  context: CommandContext,
  options: CommonOptions,
  method: string,
  params: JsonObject = {},
): Promise<T[]> {
  return withClient(context, options, (client) => collect<T>(client.stream(method, params)))
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

/** `name=value` texts as an object; true, false and plain numbers are what they look like. @throws UsageError */
export function parseMetadata(pairs: readonly string[]): Record<string, string | number | boolean> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=')
      if (at < 1) throw new UsageError(`--metadata ${JSON.stringify(pair)}: name=value expected`)
      return [pair.slice(0, at), metadataValue(pair.slice(at + 1))]
    }),
  )
}

function metadataValue(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true'
  return /^-?(0|[1-9]\d{0,14})$/.test(text) ? Number(text) : text
}
