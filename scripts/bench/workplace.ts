import { mkdir, mkdtemp, rm, rmdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'

/** In the working directory, whose disk is the one that would hold the data; /tmp is often in memory. */
const PARENT = '.bench'

/** A temporary directory on a real disk, and what has to be ended before it can go. */
export class Workplace {
  private readonly closers: (() => Promise<void>)[] = []
  private directories = 0

  private constructor(private readonly path: string) {}

  static async create(): Promise<Workplace> {
    const parent = resolve(PARENT)
    await mkdir(parent, { recursive: true })
    return new Workplace(await mkdtemp(join(parent, 'run-')))
  }

  async directory(name: string): Promise<string> {
    const path = join(this.path, `${name}-${++this.directories}`)
    await mkdir(path)
    return path
  }

  /** Called at the end, last one first. */
  onClose(close: () => Promise<void>): void {
    this.closers.push(close)
  }

  async close(): Promise<void> {
    for (const close of this.closers.reverse()) {
      await close().catch((error: unknown) => console.error(error))
    }
    await rm(this.path, { recursive: true, force: true })
    await rmdir(resolve(PARENT)).catch(() => undefined)
  }
}

/** A TCP port of the loopback address that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done, fail) => {
    server.once('error', fail)
    server.listen(0, '127.0.0.1', done)
  })
  const address = server.address()
  await new Promise((done) => server.close(done))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
