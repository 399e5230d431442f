import { Redis } from 'ioredis'
import { itemKey } from './local-deposits.js'
import { encodeCommand, RedisClient } from './redis-client.js'
import { type RedisDurability, startRedis } from './redis-server.js'
import { shuffled } from './statistics.js'
import { PER_ITEM, type Withdrawer, type WithdrawRun } from './withdrawer.js'
import type { Workplace } from './workplace.js'

const PIPELINE = 1000
const IN_FLIGHT = 100
const HASH = 'vault'

/** Takes ARGV[2] of ARGV[1] if there are so many: what everybody writes who keeps a stock in Redis. */
const SCRIPT = `
local held = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
if held < tonumber(ARGV[2]) then return 0 end
redis.call('HINCRBY', KEYS[1], ARGV[1], -tonumber(ARGV[2]))
return 1`

const DURABILITIES: Readonly<Record<RedisDurability, string>> = {
  none: 'no persistence',
  'fsync-always': 'appendfsync always',
}

/** One way of asking: does so many withdrawals as it does at once, and tells how many. */
type Step = (keys: () => string) => Promise<number>

/** Every way to ask, through ioredis and over the bare protocol (see local-redis.ts); none without Redis. */
export async function redisWithdrawers(
  workplace: Workplace,
  items: number,
): Promise<{ peers: Withdrawer[]; bare: Withdrawer[] }> {
  const peers: Withdrawer[] = []
  const bare: Withdrawer[] = []
  for (const durability of ['none', 'fsync-always'] as const) {
    const server = await startRedis(workplace, durability)
    if (!server) break
    const client = new Redis(server.port, '127.0.0.1')
    workplace.onClose(async () => client.disconnect())
    const connection = await RedisClient.connect(server.port)
    workplace.onClose(async () => connection.close())
    const sha = String(await client.script('LOAD', SCRIPT))
    const stock = new RedisStock(client, items)
    await stock.fill()
    const named = (how: string) => `Redis EVALSHA, ${DURABILITIES[durability]}, ${how}`
    const one: Step = async (key) => {
      requireTaken([await client.evalsha(sha, 1, HASH, key(), 1)])
      return 1
    }
    const pipelined: Step = async (key) => {
      const pipeline = client.pipeline()
      for (let count = 0; count < PIPELINE; count++) pipeline.evalsha(sha, 1, HASH, key(), 1)
      requireTaken(((await pipeline.exec()) ?? []).map(([error, reply]) => error ?? reply))
      return PIPELINE
    }
    const encoded = new Map(
      stock.keys.map((key) => [key, encodeCommand(['EVALSHA', sha, 1, HASH, key, 1])] as const),
    )
    const plain: Step = (key) => {
      let request = ''
      for (let count = 0; count < PIPELINE; count++) request += encoded.get(key())!
      return connection.pipeline(request, PIPELINE)
    }
    peers.push(new RedisWithdrawer(named('awaited'), stock, one, 1))
    peers.push(new RedisWithdrawer(named(`${IN_FLIGHT} in flight`), stock, one, IN_FLIGHT))
    peers.push(new RedisWithdrawer(named(`pipelines of ${PIPELINE}`), stock, pipelined, 1))
    bare.push(new RedisWithdrawer(named('bare protocol'), stock, plain, 1))
  }
  return { peers, bare }
}

function requireTaken(replies: readonly unknown[]): void {
  for (const reply of replies) if (reply !== 1) throw new Error(`Redis refused: ${String(reply)}`)
}

/** What one Redis holds; several ways of asking take from it. */
class RedisStock {
  readonly keys: readonly string[]
  taken = 0

  constructor(
    private readonly client: Redis,
    items: number,
  ) {
    this.keys = Array.from(shuffled(items), itemKey)
  }

  async fill(): Promise<void> {
    await this.client.hset(HASH, new Map(this.keys.map((key) => [key, PER_ITEM])))
  }

  async verify(name: string): Promise<void> {
    const left = (await this.client.hvals(HASH)).reduce((sum, held) => sum + Number(held), 0)
    const expected = this.keys.length * PER_ITEM - this.taken
    if (left !== expected) throw new Error(`${name}: ${left} are left, ${expected} should be`)
  }
}

class RedisWithdrawer implements Withdrawer {
  private next = 0

  constructor(
    readonly name: string,
    private readonly stock: RedisStock,
    private readonly step: Step,
    private readonly workers: number,
  ) {}

  async withdraw(spanMs: number): Promise<WithdrawRun> {
    const startedMs = performance.now()
    let withdrawals = 0
    const { keys } = this.stock
    const key = () => {
      if (this.next === keys.length) this.next = 0
      return keys[this.next++]!
    }
    const work = async () => {
      while (performance.now() < startedMs + spanMs) {
        const taken = await this.step(key)
        withdrawals += taken
      }
    }
    await Promise.all(Array.from({ length: this.workers }, work))
    this.stock.taken += withdrawals
    return { withdrawals, elapsedMs: performance.now() - startedMs }
  }

  verify(): Promise<void> {
    return this.stock.verify(this.name)
  }
}
