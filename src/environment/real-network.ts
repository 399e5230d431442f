import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocket, WebSocketServer } from 'ws'
import { AddressInUseError, DialError } from '../sync/errors.js'
import { ConnectionRateLimit } from './connection-limits.js'
import type { Channel, DialOptions, Listener, ListenOptions, Network } from './environment.js'
import { keyPairFromSeed } from './key-pair.js'
import { MAX_RECORD_BYTES, SecureChannel } from './secure-channel.js'

/** Connections whose handshake has not ended; beyond it the oldest is closed, since honest ones take milliseconds. */
export const MAX_PENDING_HANDSHAKES = 64
/** An upgrade request needs a few hundred bytes. */
const MAX_HTTP_HEADER_BYTES = 4096
/** Lets the kernel notice a peer that vanished without a word. */
const KEEP_ALIVE_AFTER_MS = 15_000
const UPGRADE_REQUIRED =
  'HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'

// Never permessage-deflate: it costs a factor of six in throughput, and frames are compressed above this.
const SOCKET_OPTIONS = { perMessageDeflate: false, maxPayload: MAX_RECORD_BYTES, skipUTF8Validation: true }

/** WebSockets with the Noise handshake of `@hyperswarm/secret-stream` above them. */
export function createRealNetwork(): Network {
  return { listen, dial, keyPair: keyPairFromSeed }
}

async function listen(options: ListenOptions): Promise<Listener> {
  const acceptor = new Acceptor(options)
  await acceptor.open()
  return { address: acceptor.address(), close: () => acceptor.close() }
}

/** One listening port: HTTP server, upgrade, handshake, and the limits on strangers. */
class Acceptor {
  private readonly server: Server
  private readonly upgrader = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    ...SOCKET_OPTIONS,
  })
  private readonly rateLimit = new ConnectionRateLimit(() => performance.now())
  /** Sockets whose handshake has not ended, oldest first, each with what ends its wait. */
  private readonly pending = new Map<Duplex, NodeJS.Timeout>()

  constructor(private readonly options: ListenOptions) {
    this.server = createServer({ maxHeaderSize: MAX_HTTP_HEADER_BYTES, keepAlive: false })
    this.server.on('connection', (socket: Socket) => this.onConnection(socket))
    this.server.on('request', (_request, response) => {
      response.writeHead(426, { Upgrade: 'websocket', Connection: 'close' }).end('WebSocket only\n')
    })
    this.server.on('upgrade', (request, socket, head) => this.onUpgrade(request, socket, head))
    this.server.on('clientError', (_error, socket) => socket.destroy())
    this.upgrader.on('wsClientError', (_error, socket) => socket.destroy())
  }

  open(): Promise<void> {
    const { host, port } = this.options
    return new Promise((resolve, reject) => {
      this.server.once('error', (error) => {
        reject(new AddressInUseError(`cannot listen on ${host}:${port}: ${error.message}`, { cause: error }))
      })
      this.server.listen(port, host, () => {
        this.server.removeAllListeners('error')
        // Such as too many open files while accepting: the listener lives on, the connection is lost.
        this.server.on('error', () => undefined)
        resolve()
      })
    })
  }

  address(): string {
    const bound = this.server.address() as AddressInfo
    return `ws://${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`
  }

  async close(): Promise<void> {
    this.server.close()
    for (const [socket, timer] of this.pending) {
      clearTimeout(timer)
      socket.destroy()
    }
    this.pending.clear()
    // The port is free once the handle has closed, which is on a later turn; open channels don't hold it.
    await new Promise((resolve) => setImmediate(resolve))
  }

  private onConnection(socket: Socket): void {
    socket.on('error', () => socket.destroy())
    if (!this.rateLimit.admit(socket.remoteAddress ?? 'unknown')) {
      socket.destroy()
      return
    }
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_AFTER_MS)
    const timer = setTimeout(() => socket.destroy(), this.options.handshakeTimeoutMs)
    timer.unref()
    this.pending.set(socket, timer)
    socket.once('close', () => this.settle(socket))
    if (this.pending.size > MAX_PENDING_HANDSHAKES) {
      const oldest = this.pending.keys().next().value!
      this.settle(oldest)
      oldest.destroy()
    }
  }

  private settle(socket: Duplex): void {
    clearTimeout(this.pending.get(socket))
    this.pending.delete(socket)
  }

  private onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (request.headers.upgrade?.toLowerCase() !== 'websocket') {
      socket.end(UPGRADE_REQUIRED)
      return
    }
    const { remoteAddress = 'unknown', remotePort = 0 } = request.socket
    this.upgrader.handleUpgrade(request, socket, head, (webSocket) => {
      webSocket.on('error', () => undefined)
      new SecureChannel(webSocket, false, `${remoteAddress}:${remotePort}`, this.options.keyPair, {
        established: (channel) => {
          this.settle(socket)
          if (this.server.listening) this.options.onChannel(channel)
          else channel.destroy('listener closed')
        },
        failed: () => socket.destroy(),
      })
    })
  }
}

function dial(options: DialOptions): Promise<Channel> {
  return new Promise((resolve, reject) => {
    const { address, signal, handshakeTimeoutMs } = options
    const webSocket = openSocket(address, reject)
    if (webSocket === undefined) return
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
    const fail = (reason: string) => {
      settle()
      reject(new DialError(`${address}: ${reason}`))
      webSocket.terminate()
    }
    const onAbort = () => fail('dial aborted')
    const timer = setTimeout(() => fail(`no handshake within ${handshakeTimeoutMs} ms`), handshakeTimeoutMs)
    timer.unref()
    // After the promise has settled a further failure changes nothing; the channel reports its own.
    webSocket.on('error', (error) => fail(error.message))
    webSocket.on('upgrade', (response) => response.socket.setKeepAlive(true, KEEP_ALIVE_AFTER_MS))
    webSocket.on('open', () => {
      new SecureChannel(webSocket, true, address, options.keyPair, {
        established: (channel) => {
          settle()
          resolve(channel)
        },
        failed: fail,
      })
    })
    if (signal?.aborted) onAbort()
    else signal?.addEventListener('abort', onAbort, { once: true })
  })
}

function openSocket(address: string, reject: (error: Error) => void): WebSocket | undefined {
  if (!address.startsWith('ws://')) {
    reject(new DialError(`${address}: not a ws:// address`))
    return undefined
  }
  try {
    return new WebSocket(address, { ...SOCKET_OPTIONS, followRedirects: false })
  } catch (error) {
    reject(new DialError(`${address}: ${(error as Error).message}`, { cause: error }))
    return undefined
  }
}
