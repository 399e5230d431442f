import { Redis } from 'ioredis'
import { Contender, type RedisOperation, type Workload } from './contender.js'
import { encodeCommand, RedisClient } from './redis-client.js'
import { type RedisDurability, startRedis } from './redis-server.js'
import type { Workplace } from './workplace.js'

const PIPELINE = 1000
const IN_FLIGHT = 100

const DURABILITIES: Readonly<Record<RedisDurability, string>> = {
  none: 'no persistence',
  'fsync-always': 'appendfsync always',
}

export interface RedisContenders {
  /** Through ioredis, as a game server in Node would do it: every command has its own answer. */
  readonly peers: readonly Contender[]
  /**
   * What the protocol alone allows: requests encoded beforehand, integers in the answers only counted. No
   * library works like that; it tells how much of the figures above is Redis and how much its client.
   */
  readonly bare: readonly Contender[]
}

/** Every way to do the workload in Redis; none when Redis is not installed. */
export async function redisContenders(workplace: Workplace, workload: Workload): Promise<RedisContenders> {
  const peers: Contender[] = []
  const bare: Contender[] = []
  for (const durability of ['none', 'fsync-always'] as const) {
    const server = await startRedis(workplace, durability)
    if (!server) break
    const client = new Redis(server.port, '127.0.0.1')
    workplace.onClose(async () => client.disconnect())
    const connection = await RedisClient.connect(server.port)
    workplace.onClose(async () => connection.close())
    const operation = await workload.redisOperation(client)
    const label = `Redis ${operation.name}, ${DURABILITIES[durability]}`
    const contender = (way: Way) => new RedisContender(`${label}, ${way.name}`, workload, client, way)
    peers.push(...waysOfClient(client, operation).map(contender))
    bare.push(contender(wayOfProtocol(connection, operation)))
  }
  return { peers, bare }
}

interface Way {
  readonly name: string
  /** Where the quantities are; each way has its own. */
  readonly hash: string
  /** How many go step after step at the same time. */
  readonly workers: number
  /** Makes of the key of an item, beforehand, what a step takes; left out: a step takes the key itself. */
  encode?(key: string): string
  /**
   * Asks for the next operations, as many as it does at once, and resolves with their number. What an answer
   * says is not looked at: operations that were refused are missing at the end.
   */
  step(next: () => string, hash: string): Promise<number>
}

function waysOfClient(client: Redis, operation: RedisOperation): Way[] {
  const one: Way['step'] = async (next, hash) => {
    await operation.ask(client, hash, next())
    return 1
  }
  const many: Way['step'] = async (next, hash) => {
    const pipeline = client.pipeline()
    for (let count = 0; count < PIPELINE; count++) operation.ask(pipeline, hash, next())
    await pipeline.exec()
    return PIPELINE
  }
  return [
    { name: 'awaited', hash: 'awaited', workers: 1, step: one },
    { name: `${IN_FLIGHT} in flight`, hash: 'flight', workers: IN_FLIGHT, step: one },
    { name: `pipelines of ${PIPELINE}`, hash: 'pipeline', workers: 1, step: many },
  ]
}

function wayOfProtocol(connection: RedisClient, operation: RedisOperation): Way {
  const hash = 'bare'
  return {
    name: 'bare protocol',
    hash,
    workers: 1,
    encode: (key) => encodeCommand(operation.words(hash, key)),
    step: (next) => {
      let requests = ''
      for (let count = 0; count < PIPELINE; count++) requests += next()
      return connection.pipeline(requests, PIPELINE)
    },
  }
}

class RedisContender extends Contender {
  /** What steps take, in the order of the keys. */
  private readonly encoded: readonly string[]
  private next = 0

  constructor(
    name: string,
    workload: Workload,
    private readonly client: Redis,
    private readonly way: Way,
  ) {
    super(name, workload)
    this.encoded = way.encode ? this.keys.map(way.encode) : this.keys
  }

  protected async fill(quantity: number): Promise<void> {
    await this.client.hset(this.way.hash, new Map(this.keys.map((key) => [key, quantity])))
  }

  protected async workUntil(endMs: number): Promise<number> {
    const { encoded, way } = this
    const next = () => {
      if (this.next === encoded.length) this.next = 0
      return encoded[this.next++]!
    }
    let operations = 0
    const work = async () => {
      while (performance.now() < endMs) {
        const done = await way.step(next, way.hash)
        operations += done
      }
    }
    await Promise.all(Array.from({ length: way.workers }, work))
    return operations
  }

  protected async quantity(): Promise<bigint> {
    return (await this.client.hvals(this.way.hash)).reduce((sum, held) => sum + BigInt(held), 0n)
  }
}
