import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { RedisClient } from './redis-client.js'
import { freePort, type Workplace } from './workplace.js'

/** How Redis keeps what it was told: not at all beyond its memory, or each write synced before it answers. */
export type RedisDurability = 'none' | 'fsync-always'

const START_TIMEOUT_MS = 10_000
const RETRY_MS = 20

export interface RedisServer {
  readonly port: number
}

/** Starts a Redis of its own that ends with the workplace; undefined when there is no redis-server here. */
export async function startRedis(
  workplace: Workplace,
  durability: RedisDurability,
): Promise<RedisServer | undefined> {
  const port = await freePort()
  const directory = await workplace.directory('redis')
  const append =
    durability === 'none' ? ['--appendonly', 'no'] : ['--appendonly', 'yes', '--appendfsync', 'always']
  const fixed = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', '']
  const server = spawn('redis-server', [...fixed, ...append, '--loglevel', 'warning'], { stdio: 'ignore' })
  if (!(await hasStarted(server))) return undefined
  const killAtExit = () => server.kill('SIGKILL')
  process.once('exit', killAtExit)
  workplace.onClose(async () => {
    process.off('exit', killAtExit)
    if (server.exitCode !== null) return
    const ended = once(server, 'exit')
    server.kill('SIGKILL')
    await ended
  })
  await answers(port)
  return { port }
}

async function hasStarted(server: ChildProcess): Promise<boolean> {
  try {
    await once(server, 'spawn')
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

async function answers(port: number): Promise<void> {
  const limitMs = performance.now() + START_TIMEOUT_MS
  for (;;) {
    try {
      const client = await RedisClient.connect(port)
      await client.command('PING')
      client.close()
      return
    } catch (error) {
      if (performance.now() > limitMs) throw new Error('redis-server does not answer', { cause: error })
      await delay(RETRY_MS)
    }
  }
}
