import { randomBytes } from 'node:crypto'
import { MeshNode } from '../../src/index.js'
import type { Benchmark, BenchmarkContext } from './benchmark.js'
import { Child } from './child.js'
import { perSecond, rounded } from './report.js'
import { median } from './statistics.js'
import { redisWithdrawers } from './withdraw-redis.js'
import type { WithdrawServerChild, WithdrawShare } from './withdraw-server.js'
import { MeshWithdrawer, type Withdrawer } from './withdrawer.js'

const ITEMS = 10_000
const ROUNDS = 5
const WARM_UP_MS = 1_000
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

async function run(context: BenchmarkContext): Promise<Readonly<Record<string, number | null>>> {
  const { report, seconds } = context
  const ours = await meshWithdrawers(context)
  const { peers, bare } = await redisWithdrawers(context.workplace, ITEMS)
  report.line(
    `withdrawals of 1 to ${ITEMS.toLocaleString('en')} item keys in random order, the same for all; ` +
      `medians of ${ROUNDS} interleaved rounds`,
  )
  const rates = await measure([...ours, ...peers, ...bare], seconds / 2)
  report.rows([...rates].map(([name, rate]) => [name, perSecond(rate)]))
  const rateOf = ({ name }: Withdrawer) => rates.get(name)!
  const journalled = rateOf(ours[1]!)
  const peer = peers.length === 0 ? null : Math.max(...peers.map(rateOf))
  if (peer === null) report.line('  no redis-server found: nothing to compare with')
  else {
    const best = Math.max(...bare.map(rateOf))
    report.rows([
      ['journalled / best of Redis with its usual client (ioredis)', (journalled / peer).toFixed(2)],
      ['journalled / bare protocol, see scripts/bench/local-redis.ts', (journalled / best).toFixed(2)],
    ])
  }
  const { even, skewed } = await shares(context, seconds / 4)
  return {
    withdrawals_per_s: Math.round(journalled),
    peer_per_s: peer === null ? null : Math.round(peer),
    ratio: peer === null ? null : rounded(journalled / peer, 2),
    backed_even: rounded(even, 4),
    backed_skewed: rounded(skewed, 4),
  }
}

async function meshWithdrawers({ workplace }: BenchmarkContext): Promise<MeshWithdrawer[]> {
  const identity = { clusterId: 'bench', secret: Uint8Array.from(randomBytes(32)) }
  const memory = await MeshNode.start({ ...identity, serverId: 'memory', durability: 'memory' })
  workplace.onClose(() => memory.stop())
  const dataDir = await workplace.directory('journal')
  const journalled = await MeshNode.start({
    ...identity,
    serverId: 'journalled',
    dataDir,
    durability: 'group',
  })
  workplace.onClose(() => journalled.stop())
  return [
    await MeshWithdrawer.filled('silo-mesh, in memory', memory, ITEMS),
    await MeshWithdrawer.filled('silo-mesh, journalled (fdatasync, flushed at the end)', journalled, ITEMS),
  ]
}

/** Takes turns, so that whatever else the machine does hits all of them alike. */
async function measure(all: readonly Withdrawer[], seconds: number): Promise<Map<string, number>> {
  const spanMs = (seconds * 1000) / (ROUNDS * all.length)
  const rates = new Map<string, number[]>(all.map(({ name }) => [name, []]))
  for (const withdrawer of all) await withdrawer.withdraw(WARM_UP_MS)
  for (let round = 0; round < ROUNDS; round++) {
    for (const withdrawer of all) {
      const { withdrawals, elapsedMs } = await withdrawer.withdraw(spanMs)
      rates.get(withdrawer.name)!.push((withdrawals * 1000) / elapsedMs)
    }
  }
  // A rate of withdrawals that went missing would be worth nothing.
  for (const withdrawer of all) await withdrawer.verify()
  return new Map([...rates].map(([name, samples]) => [name, median(samples)]))
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
