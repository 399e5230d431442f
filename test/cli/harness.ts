import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { CommandContext } from '../../src/cli/context.js'
import { run } from '../../src/cli/program.js'
import { createRealEnvironment } from '../../src/environment/real-environment.js'

export interface Ran {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly variables?: Record<string, string>
  readonly stdin?: string
  readonly isTTY?: boolean
}

/** One command line in this process, with everything that it printed. */
export async function silo(words: readonly string[], options: RunOptions = {}): Promise<Ran> {
  let stdout = ''
  let stderr = ''
  const { isTTY = false } = options
  const context: CommandContext = {
    stdout: {
      isTTY,
      write: (text) => {
        stdout += text
      },
    },
    stderr: {
      isTTY,
      write: (text) => {
        stderr += text
      },
    },
    stdin: (async function* () {
      yield options.stdin ?? ''
    })(),
    variables: options.variables ?? {},
    environment: createRealEnvironment(),
  }
  const exitCode = await run(words, context)
  return { exitCode, stdout, stderr }
}

/** A directory of the test's own, gone with it. */
export async function temporaryDirectory(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'silo-mesh-test-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  return path
}
