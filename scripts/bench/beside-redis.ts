import type { BenchmarkContext } from './benchmark.js'
import type { Contender, Workload } from './contender.js'
import { ITEM_KEYS } from './items.js'
import { meshContenders } from './mesh-contender.js'
import { redisContenders } from './redis-contender.js'
import { perSecond, rounded } from './report.js'
import { median } from './statistics.js'

const ROUNDS = 5
/** Until so much processor time is used, so that the compiler is done also on a busy machine, or time is up. */
const WARM_UP_CPU_MS = 500
const MAX_WARM_UP_MS = 1_500
const WARM_UP_SPAN_MS = 100

/** Operations a second of one server. */
export interface Comparison {
  readonly memory: number
  readonly journalled: number
  /** The best that Redis does through its usual client; null without Redis. */
  readonly peer: number | null
  /** Of the journalled server to that. */
  readonly ratio: number | null
}

/** Measures a workload on silo-mesh and on Redis in all their ways, and reports the rates. */
export async function besideRedis(
  { report, workplace }: BenchmarkContext,
  workload: Workload,
  seconds: number,
): Promise<Comparison> {
  const { inMemory, journalled } = await meshContenders(workplace, workload)
  const { peers, bare } = await redisContenders(workplace, workload)
  report.line(
    `${workload.name} of 1 to ${ITEM_KEYS.toLocaleString('en')} item keys in random order, the same for all; ` +
      `medians of ${ROUNDS} interleaved rounds`,
  )
  const rates = await interleaved([inMemory, journalled, ...peers, ...bare], seconds)
  report.rows([...rates].map(([{ name }, rate]) => [name, perSecond(rate)]))
  const rateOf = (contender: Contender) => rates.get(contender)!
  const bestOf = (contenders: readonly Contender[]) => Math.max(...contenders.map(rateOf))
  const own = { memory: Math.round(rateOf(inMemory)), journalled: Math.round(rateOf(journalled)) }
  if (peers.length === 0) {
    report.line('  no redis-server found: nothing to compare with')
    return { ...own, peer: null, ratio: null }
  }
  const peer = bestOf(peers)
  const ratio = rateOf(journalled) / peer
  const ratioToBare = rateOf(journalled) / bestOf(bare)
  report.rows([
    ['journalled / best of Redis with its usual client (ioredis)', ratio.toFixed(2)],
    ['journalled / bare protocol, see scripts/bench/redis-contender.ts', ratioToBare.toFixed(2)],
  ])
  return { ...own, peer: Math.round(peer), ratio: rounded(ratio, 2) }
}

/** Median rates. All take turns, so that whatever else the machine does hits all of them alike. */
async function interleaved(
  contenders: readonly Contender[],
  seconds: number,
): Promise<Map<Contender, number>> {
  const spanMs = (seconds * 1000) / (ROUNDS * contenders.length)
  const rates = new Map<Contender, number[]>(contenders.map((contender) => [contender, []]))
  for (const contender of contenders) {
    await contender.prepare()
    await warmUp(contender)
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const [contender, samples] of rates) {
      const { operations, elapsedMs } = await contender.work(spanMs)
      samples.push((operations * 1000) / elapsedMs)
    }
  }
  for (const contender of contenders) await contender.verify()
  return new Map([...rates].map(([contender, samples]) => [contender, median(samples)]))
}

async function warmUp(contender: Contender): Promise<void> {
  const before = process.cpuUsage()
  const endMs = performance.now() + MAX_WARM_UP_MS
  for (;;) {
    await contender.work(WARM_UP_SPAN_MS)
    const { user, system } = process.cpuUsage(before)
    if ((user + system) / 1000 >= WARM_UP_CPU_MS || performance.now() >= endMs) return
  }
}
