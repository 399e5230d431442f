import { randomBytes } from 'node:crypto'
import type { Benchmark, BenchmarkContext } from './benchmark.js'
import { besideRedis } from './beside-redis.js'
import { Child } from './child.js'
import type { Workload } from './contender.js'
import { rounded } from './report.js'
import type { WithdrawServerChild, WithdrawShare } from './withdraw-server.js'

/** Three servers: items that all of them want, how many they take in a second together, and for how long. */
const SHARED_ITEMS = 50
const TAKEN_PER_SECOND = 3_000
/** The first seconds, in which rights move to where they are wanted, do not count. */
const FIRST_SECONDS = 5
const IN_STOCK = 10_000_000

/** Withdrawals of one server beside Redis, and how many are backed when three servers withdraw. */
export const withdraw: Benchmark = {
  description: 'backed withdrawals a second beside a Redis script; share backed with three servers',
  defaultSeconds: 40,
  run,
}

/** Takes ARGV[2] of ARGV[1] if there are so many: what everybody writes who keeps a stock in Redis. */
const SCRIPT = `
local held = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
if held < tonumber(ARGV[2]) then return 0 end
redis.call('HINCRBY', KEYS[1], ARGV[1], -tonumber(ARGV[2]))
return 1`

/** Backed withdrawals, each answered within the call; of every item there is more than anybody takes. */
const withdrawals: Workload = {
  name: 'withdrawals',
  inStock: 1_000_000,
  adds: -1,
  burst(storage, keys, first, end) {
    for (let position = first; position < end; position++) {
      if (!storage.tryWithdraw(keys[position]!, 1)) throw new Error('silo-mesh refused a withdrawal')
    }
  },
  async redisOperation(client) {
    const sha = String(await client.script('LOAD', SCRIPT))
    return {
      name: 'EVALSHA',
      ask: (of, hash, key) => of.evalsha(sha, 1, hash, key, 1),
      words: (hash, key) => ['EVALSHA', sha, 1, hash, key, 1],
    }
  },
}

async function run(context: BenchmarkContext): Promise<Readonly<Record<string, number | null>>> {
  const { journalled, peer, ratio } = await besideRedis(context, withdrawals, context.seconds / 2)
  const { even, skewed } = await shares(context, context.seconds / 4)
  return {
    withdrawals_per_s: journalled,
    peer_per_s: peer,
    ratio,
    backed_even: rounded(even, 4),
    backed_skewed: rounded(skewed, 4),
  }
}

/** Three processes. All rights are with the first one; what the other two want must come to them. */
async function shares(
  { report, workplace }: BenchmarkContext,
  seconds: number,
): Promise<{ even: number; skewed: number }> {
  const secret = Uint8Array.from(randomBytes(32))
  const servers: Child<WithdrawServerChild>[] = []
  const peers: string[] = []
  for (const serverId of ['a', 'b', 'c']) {
    const file = new URL(import.meta.resolve('./withdraw-server.js'))
    const server = Child.start<WithdrawServerChild>(workplace, file)
    const dataDir = await workplace.directory(serverId)
    peers.push(await server.ask('start', { serverId, secret, dataDir, peers: [...peers] }))
    servers.push(server)
  }
  report.line()
  report.line(
    `three servers, ${SHARED_ITEMS} items, ${TAKEN_PER_SECOND.toLocaleString('en')} withdrawals a second together, ` +
      `all rights with the first at first; after ${FIRST_SECONDS} s`,
  )
  const shareOf = async (storage: string, parts: readonly number[]) => {
    const stock = { storage, items: SHARED_ITEMS, amount: IN_STOCK }
    await servers[0]!.ask('deposit', stock)
    await Promise.all(servers.map((server) => server.ask('sees', stock)))
    const load = (forSeconds: number) =>
      Promise.all(
        servers.map((server, number) => {
          const perSecond = TAKEN_PER_SECOND * parts[number]!
          return server.ask('withdraw', { storage, items: SHARED_ITEMS, perSecond, seconds: forSeconds })
        }),
      )
    const first = backedShare(await load(FIRST_SECONDS))
    return { first, later: backedShare(await load(seconds)) }
  }
  const even = await shareOf('even', [1 / 3, 1 / 3, 1 / 3])
  const skewed = await shareOf('skewed', [0.05, 0.9, 0.05])
  const percent = (share: number) => `${(share * 100).toFixed(2)} %`
  report.rows([
    ['backed, all take the same', `${percent(even.later)} (in the first seconds ${percent(even.first)})`],
    [
      'backed, the second one takes 90 %',
      `${percent(skewed.later)} (in the first seconds ${percent(skewed.first)})`,
    ],
  ])
  return { even: even.later, skewed: skewed.later }
}

function backedShare(shares: readonly WithdrawShare[]): number {
  const backed = shares.reduce((sum, share) => sum + share.backed, 0)
  const provisional = shares.reduce((sum, share) => sum + share.provisional, 0)
  return backed / (backed + provisional)
}
