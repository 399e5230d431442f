import { randomBytes } from 'node:crypto'
import type { Benchmark, BenchmarkContext } from './benchmark.js'
import { Child } from './child.js'
import { CountingProxy } from './counting-proxy.js'
import { milliseconds, rounded } from './report.js'
import { type Stalls, StallWatch } from './stall-watch.js'
import { median } from './statistics.js'
import type { SyncServerChild } from './sync-server.js'
import { freePort } from './workplace.js'

const CELLS = 1_000_000
const CELLS_BEHIND = 100
const SERVER = new URL(import.meta.resolve('./sync-server.js'))

/** Catching up and loading from a peer with a million cells. */
export const sync: Benchmark = {
  description: 'bytes to catch up by 100 cells of 1,000,000; time and stalls of loading all of them',
  defaultSeconds: 30,
  run,
}

interface LoadRun {
  readonly seconds: number
  readonly bytes: number
  readonly catchUpBytes: number
  readonly residentMb: number
  readonly peakMb: number
  readonly loader: Stalls
  readonly peer: Stalls
  /** What the machine itself does to an event loop meanwhile. */
  readonly bystander: Stalls
}

type Server = Child<SyncServerChild>

async function run(context: BenchmarkContext): Promise<Readonly<Record<string, number | null>>> {
  const { report, workplace } = context
  const proxy = await CountingProxy.listen()
  workplace.onClose(() => proxy.close())
  const secret = Uint8Array.from(randomBytes(32))
  const peer: Server = Child.start(workplace, SERVER)
  const dataDir = await workplace.directory('peer')
  const port = await freePort()
  proxy.target = port
  const advertise = proxy.address
  await peer.ask('start', { serverId: 'peer', secret, dataDir, peers: [], reached: { port, advertise } })
  const filled = await peer.ask('fill', CELLS)
  report.line(
    `two servers with journals, a process each; the peer took ${CELLS.toLocaleString('en')} deposits, one a ` +
      `counter, in ${(filled.elapsedMs / 1000).toFixed(1)} s; bytes are those of the TCP connection, handshake included`,
  )
  const runs: LoadRun[] = []
  const endMs = performance.now() + context.seconds * 1000
  do {
    runs.push(await load(context, peer, proxy, secret, runs.length))
  } while (performance.now() + longest(runs) * 1000 < endMs)
  return summarize(context, runs)
}

function longest(runs: readonly LoadRun[]): number {
  return Math.max(...runs.map(({ seconds }) => seconds))
}

async function load(
  { workplace }: BenchmarkContext,
  peer: Server,
  proxy: CountingProxy,
  secret: Uint8Array,
  round: number,
): Promise<LoadRun> {
  const dataDir = await workplace.directory('loader')
  const options = { serverId: `loader-${round}`, secret, dataDir, peers: [proxy.address] }
  const loader: Server = Child.start(workplace, SERVER)
  await peer.ask('watchStalls')
  await loader.ask('watchStalls')
  const bystander = new StallWatch()
  proxy.bytes = 0
  const startedMs = performance.now()
  await loader.ask('start', options)
  await loader.ask('caughtUp', await peer.ask('position'))
  const seconds = (performance.now() - startedMs) / 1000
  const { bytes } = proxy
  const stalls = {
    loader: await loader.ask('stalls'),
    peer: await peer.ask('stalls'),
    bystander: bystander.stop(),
  }
  const memory = await loader.ask('memory')
  const [theirs, ours] = [await peer.ask('content'), await loader.ask('content')]
  if (theirs !== ours) throw new Error(`loaded, but unequal: ${ours} instead of ${theirs}`)
  await loader.stop()
  const catchUpBytes = await catchUp(Child.start(workplace, SERVER), options, peer, proxy)
  return { seconds, bytes, catchUpBytes, ...memory, ...stalls }
}

/** The loader comes back and lacks what the peer has taken meanwhile. */
async function catchUp(
  loader: Server,
  options: Parameters<SyncServerChild['start']>[0],
  peer: Server,
  proxy: CountingProxy,
): Promise<number> {
  await peer.ask('deposit', CELLS_BEHIND)
  proxy.bytes = 0
  await loader.ask('start', options)
  await loader.ask('caughtUp', await peer.ask('position'))
  const { bytes } = proxy
  await loader.stop()
  return bytes
}

function summarize(
  { report }: BenchmarkContext,
  runs: readonly LoadRun[],
): Readonly<Record<string, number | null>> {
  const of = (pick: (run: LoadRun) => number) => median(runs.map(pick))
  const stall = (pick: (run: LoadRun) => Stalls) =>
    `p99.9 ${milliseconds(of((run) => pick(run).p999Ms))}, worst ${milliseconds(of((run) => pick(run).maxMs))}`
  report.rows([
    ['runs, medians below', String(runs.length)],
    [
      `catch up by ${CELLS_BEHIND} cells`,
      `${of((run) => run.catchUpBytes).toLocaleString('en')} bytes, both ways`,
    ],
    ['load all cells', `${of((run) => run.seconds).toFixed(2)} s from the start of the process`],
    ['bytes for that', of((run) => run.bytes).toLocaleString('en')],
    ['event loop of the loading server', stall((run) => run.loader)],
    ['event loop of the peer', stall((run) => run.peer)],
    ['event loop of a third process, nearly idle', stall((run) => run.bystander)],
    [
      'resident memory of the loading server',
      `${of((run) => run.residentMb).toFixed(0)} MB (peak ${of((run) => run.peakMb).toFixed(0)} MB)`,
    ],
  ])
  return {
    catch_up_bytes: of((run) => run.catchUpBytes),
    full_seconds: rounded(
      of((run) => run.seconds),
      2,
    ),
    full_bytes: of((run) => run.bytes),
    stall_p999_ms: rounded(
      of((run) => Math.max(run.loader.p999Ms, run.peer.p999Ms)),
      1,
    ),
    rss_mb: rounded(
      of((run) => run.residentMb),
      1,
    ),
  }
}
