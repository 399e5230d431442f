import type { Benchmark, BenchmarkContext } from './benchmark.js'
import { besideRedis } from './beside-redis.js'
import { Child } from './child.js'
import type { Workload } from './contender.js'
import { COUNTERS, type CountersChild } from './local-counters.js'

/** Deposits of one server: in memory and journalled, beside Redis. */
export const local: Benchmark = {
  description: 'deposits a second in memory and journalled, beside Redis HINCRBY; counters in memory',
  defaultSeconds: 30,
  run,
}

const deposits: Workload = {
  name: 'deposits',
  inStock: 0,
  adds: 1,
  burst(storage, keys, first, end) {
    for (let position = first; position < end; position++) storage.deposit(keys[position]!, 1)
  },
  redisOperation: async () => ({
    name: 'HINCRBY',
    ask: (of, hash, key) => of.hincrby(hash, key, 1),
    words: (hash, key) => ['HINCRBY', hash, key, 1],
  }),
}

async function run(context: BenchmarkContext): Promise<Readonly<Record<string, number | null>>> {
  const { memory, journalled, peer, ratio } = await besideRedis(context, deposits, context.seconds)
  await reportCounters(context)
  return { memory_per_s: memory, journalled_per_s: journalled, peer_per_s: peer, ratio }
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
