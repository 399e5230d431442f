import { Redis } from 'ioredis'
import { type Depositor, type DepositRun, itemKey } from './local-deposits.js'
import { encodeCommand, RedisClient } from './redis-client.js'
import { type RedisDurability, startRedis } from './redis-server.js'
import { shuffled } from './statistics.js'
import type { Workplace } from './workplace.js'

const PIPELINE = 1000
const IN_FLIGHT = 100

const DURABILITIES: Readonly<Record<RedisDurability, string>> = {
  none: 'no persistence',
  'fsync-always': 'appendfsync always',
}

export interface RedisDepositors {
  /** Through ioredis, as a game server in Node would do it: every command has its own answer. */
  readonly peers: readonly Depositor[]
  /**
   * What the protocol alone allows: requests encoded beforehand, integers in the answers only counted. No
   * library works like that; it tells how much of the figures above is Redis and how much its client.
   */
  readonly bare: readonly Depositor[]
}

/** Every way to increment in Redis; none when Redis is not installed. */
export async function redisDepositors(workplace: Workplace, keys: number): Promise<RedisDepositors> {
  const peers: Depositor[] = []
  const bare: Depositor[] = []
  for (const durability of ['none', 'fsync-always'] as const) {
    const server = await startRedis(workplace, durability)
    if (!server) break
    const client = new Redis(server.port, '127.0.0.1')
    workplace.onClose(async () => client.disconnect())
    const label = DURABILITIES[durability]
    peers.push(new Concurrent(`Redis HINCRBY, ${label}, awaited`, client, 'awaited', keys, 1))
    peers.push(
      new Concurrent(`Redis HINCRBY, ${label}, ${IN_FLIGHT} in flight`, client, 'flight', keys, IN_FLIGHT),
    )
    peers.push(new Pipelined(`Redis HINCRBY, ${label}, pipelines of ${PIPELINE}`, client, 'pipeline', keys))
    const connection = await RedisClient.connect(server.port)
    workplace.onClose(async () => connection.close())
    bare.push(new Bare(`Redis HINCRBY, ${label}, bare protocol`, client, 'bare', keys, connection))
  }
  return { peers, bare }
}

abstract class RedisDepositor implements Depositor {
  private next = 0
  private total = 0
  private readonly keys: readonly string[]

  constructor(
    readonly name: string,
    protected readonly client: Redis,
    protected readonly hash: string,
    keys: number,
  ) {
    this.keys = Array.from(shuffled(keys), itemKey)
  }

  async deposit(spanMs: number): Promise<DepositRun> {
    const startedMs = performance.now()
    const before = this.total
    await this.depositUntil(startedMs + spanMs)
    return { deposits: this.total - before, elapsedMs: performance.now() - startedMs }
  }

  async verify(): Promise<void> {
    const sum = (await this.client.hvals(this.hash)).reduce((total, value) => total + Number(value), 0)
    if (sum !== this.total) throw new Error(`${this.name}: ${this.total} incremented, ${sum} found`)
  }

  protected abstract depositUntil(endMs: number): Promise<void>

  protected nextKey(): string {
    const key = this.keys[this.next]!
    if (++this.next === this.keys.length) this.next = 0
    return key
  }

  protected done(count: number): void {
    this.total += count
  }
}

class Concurrent extends RedisDepositor {
  constructor(
    name: string,
    client: Redis,
    hash: string,
    keys: number,
    private readonly workers: number,
  ) {
    super(name, client, hash, keys)
  }

  protected async depositUntil(endMs: number): Promise<void> {
    const work = async () => {
      while (performance.now() < endMs) {
        await this.client.hincrby(this.hash, this.nextKey(), 1)
        this.done(1)
      }
    }
    await Promise.all(Array.from({ length: this.workers }, work))
  }
}

class Pipelined extends RedisDepositor {
  protected async depositUntil(endMs: number): Promise<void> {
    while (performance.now() < endMs) {
      const pipeline = this.client.pipeline()
      for (let count = 0; count < PIPELINE; count++) pipeline.hincrby(this.hash, this.nextKey(), 1)
      await pipeline.exec()
      this.done(PIPELINE)
    }
  }
}

class Bare extends RedisDepositor {
  private readonly encoded = new Map<string, string>()

  constructor(
    name: string,
    client: Redis,
    hash: string,
    keys: number,
    private readonly connection: RedisClient,
  ) {
    super(name, client, hash, keys)
    for (let position = 0; position < keys; position++) {
      const key = itemKey(position)
      this.encoded.set(key, encodeCommand(['HINCRBY', hash, key, 1]))
    }
  }

  protected async depositUntil(endMs: number): Promise<void> {
    while (performance.now() < endMs) {
      let request = ''
      for (let count = 0; count < PIPELINE; count++) request += this.encoded.get(this.nextKey())!
      await this.connection.pipeline(request, PIPELINE)
      this.done(PIPELINE)
    }
  }
}
