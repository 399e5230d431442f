import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { ControlProtocolError, NoNodeError } from '../sync/errors.js'
import { toDiskError } from './disk-errors.js'

/**
 * Longest path of a Unix socket that every system takes (macOS: 104 bytes with the final zero; Linux: 108).
 * In a data directory whose path is longer, the socket lies in a private temporary directory, and the file
 * `control.path` in the data directory says where. (Changing the working directory for the call would do as
 * well, but that belongs to the whole process, which may be somebody's game server.)
 */
export const MAX_SOCKET_PATH_BYTES = 103
/** Programs connected at once; further ones are turned away. */
export const MAX_CONTROL_CONNECTIONS = 32
const SOCKET_NAME = 'control.sock'
const POINTER_NAME = 'control.path'
const OWNER_ONLY = 0o600
const NEWLINE = 0x0a

/** One line a time, both ways. */
export interface LineSocket {
  /** Resolves when more may be sent; never rejects: after the end of the connection it does nothing. */
  send(line: string): Promise<void>
  /**
   * The lines that arrive, without their newline. Ends with the connection, however that ends.
   * @throws ControlProtocolError for a line of more than `maxLineBytes`
   */
  lines(maxLineBytes: number): AsyncIterable<string>
  /** Sends what is queued, then closes. Idempotent. */
  end(): void
  /** Called once, when the connection is gone in both directions. */
  onClosed(listener: () => void): void
}

export interface ControlListener {
  /** Where the socket really is. */
  readonly path: string
  /** Stops listening, closes every connection, removes the socket. */
  close(): Promise<void>
}

/**
 * Listens on the control socket of a data directory, for this user alone. The caller holds the directory's
 * lock: a socket that lies there already was left behind by a process that was killed.
 * @throws DiskError
 */
export async function listenControl(
  directory: string,
  onConnection: (socket: LineSocket) => void,
): Promise<ControlListener> {
  try {
    removeLeftovers(directory)
    const path = makePlace(directory)
    const sockets = new Set<Socket>()
    // Half-open: a script may send its requests, close its side and wait for the answers.
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
      onConnection(new RealLineSocket(socket))
    })
    server.maxConnections = MAX_CONTROL_CONNECTIONS
    await listenPrivately(server, path)
    return {
      path,
      close: async () => {
        for (const socket of sockets) socket.destroy()
        await new Promise<void>((done) => server.close(() => done()))
        removeLeftovers(directory)
      },
    }
  } catch (error) {
    throw toDiskError('listen on the control socket of', directory, error)
  }
}

/** @throws NoNodeError when nobody listens there, DiskError when it may not be used */
export async function dialControl(directory: string): Promise<LineSocket> {
  const path = whereIsSocket(directory)
  if (path === undefined) throw new NoNodeError(`no node runs on ${directory}`)
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      const isGone = error.code === 'ENOENT' || error.code === 'ECONNREFUSED'
      const cause = { cause: error }
      reject(
        isGone
          ? new NoNodeError(`no node runs on ${directory}`, cause)
          : toDiskError('connect to', path, error),
      )
    })
    socket.once('connect', () => resolve(new RealLineSocket(socket)))
  })
}

class RealLineSocket implements LineSocket {
  constructor(private readonly socket: Socket) {
    // What went wrong is told by the end of the lines.
    socket.on('error', () => socket.destroy())
  }

  send(line: string): Promise<void> {
    const { socket } = this
    if (socket.destroyed || socket.writableEnded || socket.write(`${line}\n`)) return Promise.resolve()
    return new Promise((resolve) => {
      const done = () => {
        socket.off('drain', done)
        socket.off('close', done)
        resolve()
      }
      socket.once('drain', done)
      socket.once('close', done)
    })
  }

  async *lines(maxLineBytes: number): AsyncGenerator<string> {
    let pieces: Buffer[] = []
    let length = 0
    for await (const chunk of this.chunks()) {
      let from = 0
      for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
        pieces.push(chunk.subarray(from, at))
        requireShort(length + at - from, maxLineBytes)
        yield Buffer.concat(pieces).toString('utf8')
        pieces = []
        length = 0
        from = at + 1
      }
      if (from < chunk.length) pieces.push(chunk.subarray(from))
      length += chunk.length - from
      requireShort(length, maxLineBytes)
    }
  }

  end(): void {
    if (!this.socket.destroyed) this.socket.end()
  }

  onClosed(listener: () => void): void {
    if (this.socket.destroyed) listener()
    else this.socket.once('close', listener)
  }

  private async *chunks(): AsyncGenerator<Buffer> {
    try {
      yield* this.socket.iterator({ destroyOnReturn: false })
    } catch {
      // Reset by the other side: the same as its end.
      this.socket.destroy()
    }
  }
}

function requireShort(length: number, maxLineBytes: number): void {
  if (length > maxLineBytes) throw new ControlProtocolError(`a line has more than ${maxLineBytes} bytes`)
}

function makePlace(directory: string): string {
  const near = nearPath(directory)
  if (fits(near)) return near
  const far = join(fs.mkdtempSync(join(tmpdir(), 'silo-mesh-control-')), SOCKET_NAME)
  if (!fits(far)) throw new Error(`the system's temporary directory has too long a path: ${far}`)
  fs.writeFileSync(join(directory, POINTER_NAME), far, { mode: OWNER_ONLY })
  return far
}

function nearPath(directory: string): string {
  const path = resolve(directory, SOCKET_NAME)
  if (process.platform !== 'win32') return path
  return `\\\\.\\pipe\\silo-mesh-control-${createHash('sha256').update(path).digest('hex').slice(0, 32)}`
}

function fits(path: string): boolean {
  return process.platform === 'win32' || Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES
}

function whereIsSocket(directory: string): string | undefined {
  const near = nearPath(directory)
  return fits(near) ? near : readPointer(directory)
}

function readPointer(directory: string): string | undefined {
  try {
    return fs.readFileSync(join(directory, POINTER_NAME), 'utf8').trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw toDiskError('read', join(directory, POINTER_NAME), error)
  }
}

function removeLeftovers(directory: string): void {
  if (process.platform === 'win32') return
  fs.rmSync(join(directory, SOCKET_NAME), { force: true })
  const far = readPointer(directory)
  if (far === undefined) return
  fs.rmSync(far, { force: true })
  try {
    fs.rmdirSync(dirname(far))
  } catch {
    // Already gone, or something else lies in it: none of ours.
  }
  fs.rmSync(join(directory, POINTER_NAME), { force: true })
}

/** The socket is bound within `listen`, so the mask makes it private from its first moment on. */
function listenPrivately(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    const mask = process.umask(0o177)
    try {
      server.listen(path, () => {
        server.off('error', reject)
        // Such as too many open files while accepting: the listener lives on.
        server.on('error', () => undefined)
        resolve()
      })
    } finally {
      process.umask(mask)
    }
  })
}
