import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Benchmark, BenchmarkContext } from './benchmark.js'
import { Child } from './child.js'
import { type EtcdMember, startEtcd } from './etcd.js'
import { type LoadResult, load, ratePerSecond, together } from './load.js'
import { milliseconds, perSecond, rounded } from './report.js'
import { median, monotonicMs, percentile } from './statistics.js'
import type { StrongLoad, StrongServerChild, StrongServerOptions } from './strong-server.js'
import { freePort } from './workplace.js'

const SERVER = new URL(import.meta.resolve('./strong-server.js'))
const SERVERS = 3
const IN_FLIGHT = [1, 16, 64, 256]
const FAILOVERS = 3
const ROUNDS = 3
const READY_TIMEOUT_MS = 60_000
/** After a restart, before the next leader is killed. */
const REST_MS = 1_500
/** Of load on each system before it is measured: servers run for long, and Node compiles what it finds busy. */
const WARM_UP_SECONDS = 8
const KEYS = 1_000
const VALUE = new Uint8Array(64).fill(7)

type Server = Child<StrongServerChild>

/** What is asked of both systems. */
interface System {
  readonly name: string
  run(work: StrongLoad): Promise<LoadResult>
  /** Milliseconds from the SIGKILL of the leader to the next write that was done, once for each time. */
  failover(): Promise<number[]>
}

/** Strong operations on three processes with real disks, beside etcd. */
export const strong: Benchmark = {
  description: 'strong writes, linearizable reads, locks and failover of three processes, beside etcd',
  defaultSeconds: 30,
  run,
}

async function run(context: BenchmarkContext): Promise<Readonly<Record<string, number | null>>> {
  const { report } = context
  report.line(
    'three processes with real disks on loopback; values of 64 bytes on 1,000 keys. Ours is embedded: each',
  )
  report.line(
    'process makes a third of the load. etcd has one client process, over gRPC, to all three members. Each takes',
  )
  report.line(
    `64 puts in flight for ${WARM_UP_SECONDS} s before it is measured; then they take turns, ${ROUNDS} each`,
  )
  const own = await startOurs(context)
  const members = await startEtcd(context.workplace)
  if (members === undefined) report.line('etcd: not found, left out')
  const [ours, peer] = await measure(context, members ? [own, etcdSystem(members)] : [own])
  const ratio = peer && ours!.puts.get(64)! / peer.puts.get(64)!
  if (ratio !== undefined) report.line(`puts at 64 in flight: ${ratio.toFixed(2)} times etcd's`)
  return {
    puts_per_s_64: Math.round(ours!.puts.get(64)!),
    put_p50_ms_1: rounded(ours!.putMs, 2),
    reads_per_s_64: Math.round(ours!.reads),
    failover_ms: Math.round(ours!.failoverMs),
    lock_unlock_ms: rounded(ours!.lockMs, 2),
    peer_puts_per_s_64: peer ? Math.round(peer.puts.get(64)!) : null,
    peer_put_p50_ms_1: peer ? rounded(peer.putMs, 2) : null,
    peer_reads_per_s_64: peer ? Math.round(peer.reads) : null,
    peer_failover_ms: peer ? Math.round(peer.failoverMs) : null,
    peer_lock_unlock_ms: peer ? rounded(peer.lockMs, 2) : null,
    ratio: ratio === undefined ? null : rounded(ratio, 2),
  }
}

interface Measured {
  readonly puts: ReadonlyMap<number, number>
  readonly putMs: number
  readonly reads: number
  readonly lockMs: number
  readonly failoverMs: number
}

/** In turns, so that whatever else the machine does hits all systems alike; rates are medians of the rounds. */
async function measure(
  { report, seconds }: BenchmarkContext,
  systems: readonly System[],
): Promise<Measured[]> {
  // Four loads of puts, one of reads and one of locks, for each of two systems.
  const each = seconds / 12 / ROUNDS
  for (const system of systems) await system.run({ kind: 'put', inFlight: 64, seconds: WARM_UP_SECONDS })
  const inTurns = async (what: string, work: Omit<StrongLoad, 'seconds'>): Promise<Rounds[]> => {
    const results = systems.map((): LoadResult[] => [])
    for (let round = 0; round < ROUNDS; round++) {
      for (const [number, system] of systems.entries())
        results[number]!.push(await system.run({ ...work, seconds: each }))
    }
    const rounds = results.map(summed)
    for (const [number, { name }] of systems.entries())
      report.line(`  ${name}, ${what}: ${tell(rounds[number]!)}`)
    return rounds
  }
  const puts: [number, Rounds[]][] = []
  for (const inFlight of IN_FLIGHT)
    puts.push([inFlight, await inTurns(`${inFlight} puts in flight`, { kind: 'put', inFlight })])
  const reads = await inTurns('64 linearizable reads in flight', { kind: 'read', inFlight: 64 })
  const locks = await inTurns('lock and unlock', { kind: 'lock', inFlight: 1 })
  const measured: Measured[] = []
  for (const [number, system] of systems.entries()) {
    const failovers = await system.failover()
    const times = failovers.map(milliseconds).join(', ')
    report.line(`  ${system.name}, next write after SIGKILL of the leader: ${times}`)
    measured.push({
      puts: new Map(puts.map(([inFlight, rounds]) => [inFlight, rounds[number]!.perSecond])),
      putMs: median(puts[0]![1][number]!.latenciesMs),
      reads: reads[number]!.perSecond,
      lockMs: median(locks[number]!.latenciesMs),
      failoverMs: median(failovers),
    })
  }
  return measured
}

/** What the rounds of one load came to. */
interface Rounds {
  readonly perSecond: number
  readonly latenciesMs: readonly number[]
}

function summed(rounds: readonly LoadResult[]): Rounds {
  return {
    perSecond: median(rounds.map(ratePerSecond)),
    latenciesMs: rounds.flatMap(({ latenciesMs }) => [...latenciesMs]),
  }
}

function tell({ perSecond: rate, latenciesMs }: Rounds): string {
  const [p50, p99] = [0.5, 0.99].map((share) => milliseconds(percentile(latenciesMs, share)))
  return `${perSecond(rate)}, p50 ${p50}, p99 ${p99}`
}

async function startOurs({ workplace }: BenchmarkContext): Promise<System> {
  const secret = Uint8Array.from(randomBytes(32))
  const ports = await Promise.all(Array.from({ length: SERVERS }, freePort))
  const options: StrongServerOptions[] = []
  const servers: Server[] = []
  for (let number = 0; number < SERVERS; number++) {
    const peers = ports.filter((_, other) => other !== number).map((port) => `ws://127.0.0.1:${port}`)
    const dataDir = await workplace.directory('strong')
    options.push({
      serverId: `s${number}`,
      secret,
      dataDir,
      port: ports[number]!,
      peers,
      found: number === 0,
    })
    servers.push(Child.start<StrongServerChild>(workplace, SERVER))
    await servers[number]!.ask('start', options[number]!)
  }
  await ready(servers)
  return {
    name: 'ours',
    async run({ inFlight, ...work }) {
      // The first servers take what does not divide.
      const shares = servers.map((_, number) => Math.ceil((inFlight - number) / SERVERS))
      const busy = servers.filter((_, number) => shares[number]! > 0)
      return together(
        await Promise.all(
          busy.map((server, number) => server.ask('run', { ...work, inFlight: shares[number]! })),
        ),
      )
    },
    async failover() {
      const times: number[] = []
      for (let round = 0; round < FAILOVERS; round++) {
        const leader = await leaderOf(servers)
        const other = servers[(leader + 1) % SERVERS]!
        const killedMs = monotonicMs()
        servers[leader]!.kill()
        times.push((await other.ask('nextWrite')) - killedMs)
        servers[leader] = Child.start<StrongServerChild>(workplace, SERVER)
        await servers[leader].ask('start', { ...options[leader]!, found: false })
        await ready(servers)
        await delay(REST_MS)
      }
      return times
    },
  }
}

/** Until all are voters, one leads, and each has written. */
async function ready(servers: readonly Server[]): Promise<void> {
  const limitMs = performance.now() + READY_TIMEOUT_MS
  for (;;) {
    const views = await Promise.all(servers.map((server) => server.ask('view')))
    if (views.every(({ voters }) => voters === SERVERS) && views.some(({ role }) => role === 'leader')) break
    if (performance.now() > limitMs) throw new Error(`no group of three: ${JSON.stringify(views)}`)
    await delay(50)
  }
  for (const server of servers) await server.ask('nextWrite')
}

async function leaderOf(servers: readonly Server[]): Promise<number> {
  const views = await Promise.all(servers.map((server) => server.ask('view')))
  return views.findIndex(({ role }) => role === 'leader')
}

function etcdSystem(members: readonly EtcdMember[]): System {
  const client = (number: number) => members[number % members.length]!.client
  return {
    name: 'etcd',
    async run({ kind, inFlight, seconds }) {
      if (kind === 'put') return load(inFlight, seconds, (n) => client(n).put(`key-${n % KEYS}`, VALUE))
      if (kind === 'read') return load(inFlight, seconds, (n) => client(n).get(`key-${n % KEYS}`))
      const lease = await client(0).grantLease(60)
      return load(inFlight, seconds, async () => {
        await client(0).unlock(await client(0).lock('bench', lease))
      })
    },
    async failover() {
      const leading = await Promise.all(members.map(({ client }) => client.leads()))
      const leader = leading.indexOf(true)
      const killedMs = monotonicMs()
      members[leader]!.kill()
      for (;;) {
        try {
          await client(leader + 1).put('key-0', VALUE, 200)
          return [monotonicMs() - killedMs]
        } catch {
          await delay(5)
        }
      }
    },
  }
}
