import Table from 'cli-table3'
import type { CommandContext, TextSink } from './context.js'

/** Quantities are decimal strings in JSON: they have no largest size. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue | undefined }

export function printJson(sink: TextSink, value: JsonValue): void {
  sink.write(`${JSON.stringify(value)}\n`)
}

export function printTable(
  sink: TextSink,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  // No colours of the table's own: they would come whatever NO_COLOR says.
  const table = new Table({ head: [...head], style: { head: [], border: [] } })
  for (const row of rows) table.push([...row])
  sink.write(`${table.toString()}\n`)
}

export type Paint = (text: string, tone: Tone) => string
export type Tone = 'good' | 'bad' | 'doubtful' | 'dim' | 'strong'

const ANSI: Readonly<Record<Tone, string>> = { good: '32', bad: '31', doubtful: '33', dim: '2', strong: '1' }

/** Colours for a terminal; the plain text for a pipe, a file, a dumb terminal or under NO_COLOR (no-color.org). */
export function painter(sink: TextSink, variables: CommandContext['variables']): Paint {
  if (!wantsColour(sink, variables)) return (text) => text
  return (text, tone) => `\u001b[${ANSI[tone]}m${text}\u001b[0m`
}

export function wantsColour(sink: TextSink, variables: CommandContext['variables']): boolean {
  return sink.isTTY === true && !variables.NO_COLOR && variables.TERM !== 'dumb'
}
