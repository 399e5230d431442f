import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

const PROGRAM = fileURLToPath(new URL('program-process.ts', import.meta.url))

/** `silo-mesh` in a process of its own, killed with the test. */
export class Running {
  readonly child: ChildProcess
  readonly exit: Promise<number | string>
  private readonly lines: AsyncIterator<string>
  stderr = ''

  constructor(t: Test, words: readonly string[], variables: Record<string, string> = {}, stdin = '') {
    this.child = spawn(process.execPath, ['--import=tsx', PROGRAM, ...words], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...variables },
    })
    this.exit = once(this.child, 'exit').then(([code, signal]) => signal ?? code)
    this.child.stdin?.end(stdin)
    this.child.stderr?.on('data', (text) => {
      this.stderr += text
    })
    this.lines = createInterface(this.child.stdout!)[Symbol.asyncIterator]()
    t.teardown(() => this.child.kill('SIGKILL'))
  }

  /** The next object on stdout. */
  async next(): Promise<Record<string, unknown>> {
    const { value, done } = await this.lines.next()
    if (done) throw new Error(`stdout has ended: ${this.stderr}`)
    return JSON.parse(value)
  }
}
