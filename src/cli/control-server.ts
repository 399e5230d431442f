import { type ControlListener, type LineSocket, listenControl } from '../environment/control-socket.js'
import { ControlProtocolError, OverloadedError, UnknownMethodError } from '../sync/errors.js'
import type { Logger } from '../sync/logger.js'
import type { ControlMethods, StreamMethod } from './control-methods.js'
import {
  encodeError,
  encodeItem,
  encodeResult,
  MAX_REPLY_BYTES,
  MAX_REQUEST_BYTES,
  parseRequest,
  type Request,
} from './control-protocol.js'

/** Streams open at once on one connection. */
export const MAX_STREAMS = 8

/** Answers the control socket of a data directory until it is closed. @throws DiskError */
export async function serveControl(
  dataDir: string,
  methods: ControlMethods,
  logger: Logger,
): Promise<ControlListener> {
  return listenControl(dataDir, (socket) => {
    new ControlConnection(socket, methods).run().catch((error: unknown) => {
      logger.error({ error }, 'a control connection failed')
      socket.end()
    })
  })
}

/** One program that asks: its calls one after the other, its streams beside them. */
class ControlConnection {
  private readonly streams = new Map<number, AbortController>()

  constructor(
    private readonly socket: LineSocket,
    private readonly methods: ControlMethods,
  ) {
    socket.onClosed(() => this.endStreams())
  }

  async run(): Promise<void> {
    try {
      // The next line is not read before the answer to this one has left: who does not read, is not read.
      for await (const line of this.socket.lines(MAX_REQUEST_BYTES)) await this.answer(line)
    } catch (error) {
      if (!(error instanceof ControlProtocolError)) throw error
      await this.socket.send(encodeError(null, error))
    } finally {
      this.endStreams()
      this.socket.end()
    }
  }

  private async answer(line: string): Promise<void> {
    if (line.trim() === '') return
    let id: number | null = null
    try {
      const request = parseRequest(line)
      id = request.id
      const stream = own(this.methods.streams, request.method)
      if (stream) this.open(request, stream)
      else await this.send(id, encodeResult(id, await this.call(request)))
    } catch (error) {
      await this.socket.send(encodeError(id, error))
    }
  }

  private call({ method, params }: Request) {
    if (method === 'cancel') {
      this.streams.get(Number(params.id))?.abort()
      return {}
    }
    const call = own(this.methods.calls, method)
    if (!call) throw new UnknownMethodError(`this node knows no control method ${JSON.stringify(method)}`)
    return call(params)
  }

  private open({ id, params }: Request, stream: StreamMethod): void {
    if (this.streams.has(id)) throw new ControlProtocolError(`a stream with id ${id} is open`)
    if (this.streams.size >= MAX_STREAMS)
      throw new OverloadedError(`${MAX_STREAMS} streams are open on this connection`)
    const abort = new AbortController()
    this.streams.set(id, abort)
    stream(params, (item) => this.send(id, encodeItem(id, item)), abort.signal)
      .then(
        () => encodeResult(id, {}),
        (error: unknown) => encodeError(id, error),
      )
      .then((end) => {
        this.streams.delete(id)
        return this.socket.send(end)
      })
      .catch(() => this.socket.end())
  }

  private send(id: number, line: string): Promise<void> {
    if (Buffer.byteLength(line) > MAX_REPLY_BYTES)
      throw new OverloadedError(`the reply to ${id} exceeds ${MAX_REPLY_BYTES} bytes`)
    return this.socket.send(line)
  }

  private endStreams(): void {
    for (const abort of this.streams.values()) abort.abort()
  }
}

/** Not what every object inherits: `toString` is no method. */
function own<T>(methods: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(methods, name) ? methods[name] : undefined
}
