import { randomBytes } from 'node:crypto'
import { MeshNode } from '../../src/index.js'
import type { Benchmark, BenchmarkContext } from './benchmark.js'
import { Child } from './child.js'
import { COUNTERS, type CountersChild } from './local-counters.js'
import { type Depositor, type DepositRun, MeshDepositor } from './local-deposits.js'
import { redisDepositors } from './local-redis.js'
import { perSecond, rounded } from './report.js'
import { median } from './statistics.js'

/** Item keys that both systems deposit to, in one random order. */
export const ITEM_KEYS = 10_000
const ROUNDS = 5
/** Until so much processor time is used, so that the compiler is done also on a busy machine, or time is up. */
const WARM_UP_CPU_MS = 500
const MAX_WARM_UP_MS = 1_500
const WARM_UP_SPAN_MS = 100

/** Deposits of one server: in memory and journalled, beside Redis. */
export const local: Benchmark = {
  description: 'deposits a second in memory and journalled, beside Redis HINCRBY; counters in memory',
  defaultSeconds: 30,
  run,
}

async function run(context: BenchmarkContext): Promise<Readonly<Record<string, number | null>>> {
  const { report } = context
  const ours = await meshDepositors(context)
  const { peers, bare } = await redisDepositors(context.workplace, ITEM_KEYS)
  report.line(
    `deposits of 1 to ${ITEM_KEYS.toLocaleString('en')} item keys in random order, the same for all; ` +
      `medians of ${ROUNDS} interleaved rounds`,
  )
  const rates = await measure([...ours, ...peers, ...bare], context.seconds)
  report.rows([...rates].map(([name, rate]) => [name, perSecond(rate)]))
  const rateOf = (depositor: Depositor) => rates.get(depositor.name)!
  const [memory, journalled] = ours.map(rateOf)
  const peer = peers.length === 0 ? null : Math.max(...peers.map(rateOf))
  if (peer === null) report.line('  no redis-server found: nothing to compare with')
  else {
    const best = Math.max(...bare.map(rateOf))
    report.rows([
      ['journalled / best of Redis with its usual client (ioredis)', (journalled! / peer).toFixed(2)],
      ['journalled / bare protocol, see scripts/bench/local-redis.ts', (journalled! / best).toFixed(2)],
    ])
  }
  await reportCounters(context)
  return {
    memory_per_s: Math.round(memory!),
    journalled_per_s: Math.round(journalled!),
    peer_per_s: peer === null ? null : Math.round(peer),
    ratio: peer === null ? null : rounded(journalled! / peer, 2),
  }
}

async function meshDepositors({ workplace }: BenchmarkContext): Promise<MeshDepositor[]> {
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
    new MeshDepositor('silo-mesh, in memory', memory, ITEM_KEYS),
    new MeshDepositor('silo-mesh, journalled (fdatasync, flushed at the end)', journalled, ITEM_KEYS),
  ]
}

/** Takes turns, so that whatever else the machine does hits all of them alike. */
async function measure(depositors: readonly Depositor[], seconds: number): Promise<Map<string, number>> {
  const spanMs = (seconds * 1000) / (ROUNDS * depositors.length)
  const rates = new Map<string, number[]>(depositors.map(({ name }) => [name, []]))
  for (const depositor of depositors) await warmUp(depositor)
  for (let round = 0; round < ROUNDS; round++) {
    for (const depositor of depositors) {
      const { deposits, elapsedMs }: DepositRun = await depositor.deposit(spanMs)
      rates.get(depositor.name)!.push((deposits * 1000) / elapsedMs)
    }
  }
  // A rate of deposits that went missing would be worth nothing.
  for (const depositor of depositors) await depositor.verify()
  return new Map([...rates].map(([name, samples]) => [name, median(samples)]))
}

async function warmUp(depositor: Depositor): Promise<void> {
  const before = process.cpuUsage()
  const endMs = performance.now() + MAX_WARM_UP_MS
  for (;;) {
    await depositor.deposit(WARM_UP_SPAN_MS)
    const { user, system } = process.cpuUsage(before)
    if ((user + system) / 1000 >= WARM_UP_CPU_MS || performance.now() >= endMs) return
  }
}

/** A million counters in a process that has nothing else in it. */
async function reportCounters({ report, workplace }: BenchmarkContext): Promise<void> {
  const child = Child.start<CountersChild>(workplace, new URL(import.meta.resolve('./local-counters.js')))
  const { nodeMb, fullMb, callNs, allNs, mapNs } = await child.ask('measure')
  await child.stop()
  report.line()
  report.line(`${COUNTERS.toLocaleString('en')} counters in memory, a process of their own`)
  report.rows([
    ['resident memory', `${fullMb.toFixed(0)} MB (a node without counters: ${nodeMb.toFixed(0)} MB)`],
    [
      'one deposit, random counters',
      `${callNs.toFixed(0)} ns for the call, ${allNs.toFixed(0)} ns with its flush`,
    ],
    ['one increment of a plain Map', `${mapNs.toFixed(0)} ns, as many keys in random order`],
  ])
}
