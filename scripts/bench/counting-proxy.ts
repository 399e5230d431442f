import { connect, createServer, type Server, type Socket } from 'node:net'

/** Passes TCP connections on and counts every byte of theirs, in both directions. */
export class CountingProxy {
  bytes = 0
  /** Port of the loopback address to pass on to. */
  target = 0
  private readonly sockets = new Set<Socket>()

  private constructor(
    private readonly server: Server,
    private readonly port: number,
  ) {}

  static async listen(): Promise<CountingProxy> {
    const server = createServer()
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(0, '127.0.0.1', resolve)
    })
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    const proxy = new CountingProxy(server, address.port)
    server.on('connection', (socket) => proxy.pass(socket))
    return proxy
  }

  get address(): string {
    return `ws://127.0.0.1:${this.port}`
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    await new Promise((resolve) => this.server.close(resolve))
  }

  private pass(near: Socket): void {
    const far = connect({ port: this.target, host: '127.0.0.1' })
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(from)
      from.setNoDelay(true)
      from.on('data', (chunk) => {
        this.bytes += chunk.length
      })
      from.pipe(to)
      from.on('error', () => to.destroy())
      from.on('close', () => {
        this.sockets.delete(from)
        to.destroy()
      })
    }
  }
}
