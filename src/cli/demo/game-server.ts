import { type ChildProcess, fork } from 'node:child_process'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Environment } from '../../environment/environment.js'
import type { Call, FromServer, MethodName, Methods, Progress, StartParams } from './messages.js'

/** A game server that gives no answer for so long is taken for hung. */
const ANSWER_TIMEOUT_MS = 20_000
const MAX_COMPLAINT_LENGTH = 4_000

const PROGRAM = fileURLToPath(new URL(`./server-process${extname(import.meta.url)}`, import.meta.url))

/** Something that must not happen in a demo: a server that died unasked, or did not answer. */
export class DemoFailure extends Error {
  override readonly name = 'DemoFailure'
}

interface Waiting {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
}

/** One server of the demo: its process, which may be killed and started again. */
export class GameServer {
  address = ''
  restarts = 0
  /** Leaders of the strong group as seen by this server, by term. */
  readonly leaders = new Map<number, string>()
  /** Operations of processes that are gone. */
  private before: Progress = { operations: 0, acknowledged: 0 }
  private current: Progress = { operations: 0, acknowledged: 0 }
  private child: ChildProcess | undefined
  private readonly waiting = new Map<number, Waiting>()
  private lastId = 0
  private complaints = ''

  constructor(
    private readonly environment: Environment,
    private readonly params: Omit<StartParams, 'peers' | 'found'>,
    private readonly onUnexpectedEnd: (error: DemoFailure) => void,
  ) {}

  get id(): string {
    return this.params.serverId
  }

  get operationLog(): string {
    return this.params.operationLog
  }

  get structureLog(): string {
    return this.params.structureLog
  }

  get progress(): Progress {
    return {
      operations: this.before.operations + this.current.operations,
      acknowledged: this.before.acknowledged + this.current.acknowledged,
    }
  }

  /** With `found` it founds the strong group: the very first start of one server. */
  async start(peers: readonly string[], { found = false } = {}): Promise<void> {
    this.launch()
    const { address } = await this.call('start', { ...this.params, peers, found })
    this.address = address
  }

  /** SIGKILL, in the middle of whatever it does; resolves when the process is gone. */
  async kill(): Promise<void> {
    const { child } = this
    if (!child) return
    this.child = undefined
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.kill('SIGKILL')
    await gone
    this.before = this.progress
    this.current = { operations: 0, acknowledged: 0 }
    for (const { reject } of this.waiting.values()) reject(new DemoFailure(`${this.id} was killed`))
    this.waiting.clear()
  }

  async restart(peers: readonly string[]): Promise<void> {
    this.restarts += 1
    await this.start(peers)
  }

  /** Stops the node properly, then its process. */
  async stop(): Promise<void> {
    if (!this.child) return
    await this.call('stop', undefined)
    await this.kill()
  }

  call<Name extends MethodName>(
    method: Name,
    params: Methods[Name]['params'],
  ): Promise<Methods[Name]['result']> {
    return new Promise((resolve, reject) => {
      const { child } = this
      if (!child?.connected) {
        reject(new DemoFailure(`${this.id} is not running`))
        return
      }
      const id = ++this.lastId
      const timer = this.environment.scheduler.after(ANSWER_TIMEOUT_MS, () => {
        this.waiting.delete(id)
        reject(new DemoFailure(`${this.id} gave no answer to "${method}" within ${ANSWER_TIMEOUT_MS} ms`))
      })
      this.waiting.set(id, {
        resolve: (result) => {
          timer.cancel()
          resolve(result as Methods[Name]['result'])
        },
        reject: (error) => {
          timer.cancel()
          reject(error)
        },
      })
      const call: Call = { id, method, params }
      // A failed send shows as the end of the process.
      child.send(call, () => undefined)
    })
  }

  private launch(): void {
    const child = fork(PROGRAM, [], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
    this.child = child
    child.stderr?.on('data', (text: Uint8Array) => {
      this.complaints = (this.complaints + String(text)).slice(-MAX_COMPLAINT_LENGTH)
    })
    child.on('message', (message: FromServer) => this.hear(message))
    child.on('error', (error) => this.onUnexpectedEnd(new DemoFailure(`${this.id}: ${error.message}`)))
    child.on('exit', (code, signal) => {
      if (this.child !== child) return
      this.child = undefined
      const failure = new DemoFailure(
        `${this.id} died unasked (${signal ?? `code ${code}`})\n${this.complaints}`,
      )
      for (const { reject } of this.waiting.values()) reject(failure)
      this.waiting.clear()
      this.onUnexpectedEnd(failure)
    })
  }

  private hear(message: FromServer): void {
    if ('progress' in message) {
      this.current = message.progress
      const { leader } = message.progress
      if (leader) this.leaders.set(leader.term, leader.serverId)
      return
    }
    const waiting = this.waiting.get(message.id)
    this.waiting.delete(message.id)
    if ('error' in message) waiting?.reject(new DemoFailure(`${this.id}: ${message.error}`))
    else waiting?.resolve(message.result)
  }
}
