import { dialControl, type LineSocket } from '../environment/control-socket.js'
import type { Scheduler } from '../environment/environment.js'
import { NoNodeError, OverloadedError } from '../sync/errors.js'
import { MAX_REPLY_BYTES, parseReply, type Reply, ReportedError } from './control-protocol.js'
import type { JsonValue } from './output.js'

/** A node that is alive answers in milliseconds; one that replays a large journal in slices, within this. */
export const ANSWER_TIMEOUT_MS = 10_000

/** Asks a running node; one question at a time. */
export class ControlClient implements Disposable {
  private readonly replies: AsyncIterator<string>
  private lastId = 0

  private constructor(
    private readonly socket: LineSocket,
    private readonly dataDir: string,
    private readonly scheduler: Scheduler,
  ) {
    this.replies = socket.lines(MAX_REPLY_BYTES)[Symbol.asyncIterator]()
  }

  /** @throws NoNodeError, DiskError */
  static async connect(dataDir: string, scheduler: Scheduler): Promise<ControlClient> {
    try {
      return new ControlClient(await dialControl(dataDir), dataDir, scheduler)
    } catch (error) {
      if (!(error instanceof NoNodeError)) throw error
      const advice = `start it with: silo-mesh join --data-dir ${dataDir}`
      throw new NoNodeError(`${error.message}; ${advice}`, { cause: error })
    }
  }

  /** @throws ReportedError as the node reported, NoNodeError when it goes away before it has answered */
  async call(method: string, params: JsonValue = {}, extraMs = 0): Promise<unknown> {
    const id = this.ask(method, params)
    return (await this.reply(id, ANSWER_TIMEOUT_MS + extraMs)).result
  }

  /** Items until the node ends the stream. @throws as `call`; OverloadedError when nothing comes at all */
  async *stream(method: string, params: JsonValue = {}): AsyncGenerator<unknown> {
    yield* this.items(this.ask(method, params), ANSWER_TIMEOUT_MS)
  }

  /** The same without a time limit between two items; ends quietly with `signal`. */
  async *follow(method: string, params: JsonValue, signal: AbortSignal): AsyncGenerator<unknown> {
    const id = this.ask(method, params)
    const stop = () => this.socket.end()
    signal.addEventListener('abort', stop, { once: true })
    try {
      yield* this.items(id, undefined)
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  [Symbol.dispose](): void {
    this.socket.end()
  }

  private async *items(id: number, timeoutMs: number | undefined): AsyncGenerator<unknown> {
    for (;;) {
      const { item } = await this.reply(id, timeoutMs)
      if (item === undefined) return
      yield item
    }
  }

  private ask(method: string, params: JsonValue): number {
    const id = ++this.lastId
    // Its rejection cannot be: a socket that has gone shows when the answer is awaited.
    void this.socket.send(JSON.stringify({ id, method, params }))
    return id
  }

  private async reply(id: number, timeoutMs: number | undefined): Promise<Reply> {
    for (;;) {
      const line = await this.inTime(this.replies.next(), timeoutMs)
      if (line.done) throw new NoNodeError(`the node on ${this.dataDir} has stopped or closed the connection`)
      const reply = parseReply(line.value)
      if (reply.error && (reply.id === id || reply.id === null)) throw new ReportedError(reply.error)
      if (reply.id === id) return reply
    }
  }

  private inTime<T>(work: Promise<T>, timeoutMs: number | undefined): Promise<T> {
    if (timeoutMs === undefined) return work
    return new Promise((resolve, reject) => {
      const timer = this.scheduler.after(timeoutMs, () =>
        reject(new OverloadedError(`the node on ${this.dataDir} gave no answer within ${timeoutMs} ms`)),
      )
      work.then(resolve, reject).finally(() => timer.cancel())
    })
  }
}
