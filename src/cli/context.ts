import type { Environment } from '../environment/environment.js'
import { createRealEnvironment } from '../environment/real-environment.js'

/** Where text goes. */
export interface TextSink {
  readonly isTTY?: boolean | undefined
  write(text: string): unknown
}

/** What a command has of the process around it, so that tests can give it another one. */
export interface CommandContext {
  /** Data: what a script reads. */
  readonly stdout: TextSink
  /** Chatter: logs, progress, advice, errors. */
  readonly stderr: TextSink
  readonly stdin: AsyncIterable<Uint8Array | string>
  readonly variables: Readonly<Record<string, string | undefined>>
  readonly environment: Environment
}

export function processContext(): CommandContext {
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: process.stdin,
    variables: process.env,
    environment: createRealEnvironment(),
  }
}
