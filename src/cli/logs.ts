import { type DestinationStream, pino } from 'pino'
import { isoTime } from '../environment/time-text.js'
import type { Logger } from '../sync/logger.js'
import type { CommandContext } from './context.js'
import { type Paint, painter, type Tone } from './output.js'

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
export const LOG_FORMATS = ['text', 'json'] as const
export type LogFormat = (typeof LOG_FORMATS)[number]

/** Logs on stderr: lines of JSON, or for eyes. Left to itself: for eyes on a terminal, JSON elsewhere. */
export function createLogger(
  context: CommandContext,
  level: LogLevel,
  format: LogFormat | undefined,
): Logger {
  const { stderr, variables } = context
  const isText = format === 'text' || (format === undefined && stderr.isTTY === true)
  const destination: DestinationStream = isText
    ? { write: (line) => stderr.write(`${textLine(line, painter(stderr, variables))}\n`) }
    : { write: (line) => stderr.write(line) }
  return pino({ level, serializers: { error: pino.stdSerializers.err } }, destination)
}

const LEVEL_WORDS: Readonly<Record<number, [string, Tone]>> = {
  20: ['debug', 'dim'],
  30: ['info ', 'good'],
  40: ['warn ', 'doubtful'],
  50: ['error', 'bad'],
}

function textLine(line: string, paint: Paint): string {
  const { level, time, pid: _, hostname: __, msg: message, error, ...fields } = JSON.parse(line)
  const [word, tone] = LEVEL_WORDS[level as number] ?? ['?', 'strong']
  const details = Object.entries(fields).map(([name, value]) => `${name}=${JSON.stringify(value)}`)
  if (error) details.push(`error=${JSON.stringify(error.message ?? error)}`)
  const when = isoTime(time as number).slice(11, 23)
  return `${paint(when, 'dim')} ${paint(word, tone)} ${message} ${paint(details.join(' '), 'dim')}`.trimEnd()
}
