import { randomBytes } from 'node:crypto'
import { constants, open } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { MeshNode } from '../../src/index.js'
import type { Benchmark, BenchmarkContext } from './benchmark.js'
import { Child } from './child.js'
import { CHANNEL, ITEM, type ObserverChild, type Sighting, STORAGE } from './propagation-observer.js'
import { encodeCommand, RedisClient } from './redis-client.js'
import { startRedis } from './redis-server.js'
import { milliseconds, rounded } from './report.js'
import { monotonicMs, percentile } from './statistics.js'

/**
 * Changes made first, one after the other, for this share of the time: the code of a server that has run for some
 * minutes is compiled, as that of Redis always is. A few thousand are not enough, since each runs most of it once.
 */
const WARM_UP_SHARE = 1
const MIN_WARM_UP = 100
/** Pause between two changes, so that each finds everything at rest, as most do in a game. */
const PAUSE_MS = 2
/** About what one change takes in the journal. */
const APPEND_BYTES = 160
/** A change not seen for so long is a failure, not a sample. */
const TIMEOUT_MS = 10_000
const MIN_SAMPLES = 50

/** From a deposit on one server until another process sees the change. */
export const propagation: Benchmark = {
  description: 'deposit on one server to change seen in another process, beside Redis counter + publish',
  defaultSeconds: 20,
  run,
}

/** Makes one change and tells how long it took until the observer saw it. */
type Change = () => Promise<number>

interface Samples {
  readonly ours: number[]
  readonly theirs: number[]
  readonly disk: number[]
  warmUps: number
}

async function run(context: BenchmarkContext): Promise<Readonly<Record<string, number | null>>> {
  const { report, workplace } = context
  const observer = Child.start<ObserverChild>(
    workplace,
    new URL(import.meta.resolve('./propagation-observer.js')),
  )
  const sightings = new Sightings(observer)
  const ours = await meshChange(context, observer, sightings)
  const theirs = await redisChange(context, observer, sightings)
  const disk = await diskAppend(context)
  const samples = await measure(context.seconds, ours, theirs, disk)
  report.line(
    `from just before the call on one server until the change is seen in another process (loopback), ` +
      `one at a time, ${samples.ours.length} of each in turn, after ${samples.warmUps} of each without a pause`,
  )
  const describe = (values: readonly number[]) =>
    `p50 ${milliseconds(percentile(values, 0.5))}, p99 ${milliseconds(percentile(values, 0.99))}`
  report.rows([
    ['silo-mesh: deposit, journalled, then storage.changes()', describe(samples.ours)],
    [
      'Redis: HINCRBY + PUBLISH, appendfsync always, then the message',
      theirs ? describe(samples.theirs) : 'no redis-server found',
    ],
    [`the disk alone: ${APPEND_BYTES} bytes appended durably, awaited`, describe(samples.disk)],
  ])
  return {
    p50_ms: rounded(percentile(samples.ours, 0.5), 3),
    p99_ms: rounded(percentile(samples.ours, 0.99), 3),
    peer_p50_ms: theirs ? rounded(percentile(samples.theirs, 0.5), 3) : null,
    peer_p99_ms: theirs ? rounded(percentile(samples.theirs, 0.99), 3) : null,
  }
}

async function measure(
  seconds: number,
  ours: Change,
  theirs: Change | undefined,
  disk: Change,
): Promise<Samples> {
  const samples: Samples = { ours: [], theirs: [], disk: [], warmUps: 0 }
  const warmMs = performance.now() + seconds * 1000 * WARM_UP_SHARE
  for (let count = 0; count < MIN_WARM_UP || performance.now() < warmMs; count++) {
    await ours()
    await theirs?.()
    samples.warmUps += 1
  }
  const endMs = performance.now() + seconds * 1000
  while (performance.now() < endMs || samples.ours.length < MIN_SAMPLES) {
    await delay(PAUSE_MS)
    samples.ours.push(await ours())
    await delay(PAUSE_MS)
    samples.disk.push(await disk())
    if (!theirs) continue
    await delay(PAUSE_MS)
    samples.theirs.push(await theirs())
  }
  return samples
}

async function meshChange(
  { workplace }: BenchmarkContext,
  observer: Child<ObserverChild>,
  sightings: Sightings,
): Promise<Change> {
  const secret = Uint8Array.from(randomBytes(32))
  const node = await MeshNode.start({
    clusterId: 'bench',
    serverId: 'writer',
    secret,
    dataDir: await workplace.directory('writer'),
    listen: { host: '127.0.0.1', port: 0 },
  })
  workplace.onClose(() => node.stop())
  const dataDir = await workplace.directory('observer')
  await observer.ask('watchMesh', { secret, dataDir, peer: node.address })
  const storage = node.storage(STORAGE)
  let quantity = 0
  return async () => {
    const seen = sightings.next('mesh', ++quantity)
    const startedMs = monotonicMs()
    const receipt = storage.deposit(ITEM, 1)
    const seenMs = await seen
    // The observer makes it durable, too; with a disk shared by both that must not run into the next change.
    await receipt.reached('QUORUM', { timeoutMs: TIMEOUT_MS })
    return seenMs - startedMs
  }
}

async function redisChange(
  { workplace }: BenchmarkContext,
  observer: Child<ObserverChild>,
  sightings: Sightings,
): Promise<Change | undefined> {
  const server = await startRedis(workplace, 'fsync-always')
  if (!server) return undefined
  const client = await RedisClient.connect(server.port)
  workplace.onClose(async () => client.close())
  await observer.ask('watchRedis', server.port)
  const increment = encodeCommand(['HINCRBY', STORAGE, ITEM, 1])
  let quantity = 0
  return async () => {
    const seen = sightings.next('redis', ++quantity)
    const startedMs = monotonicMs()
    // Both in one write. The change is told as its number, so nobody has to read the counter again.
    const answered = client.pipeline(increment + encodeCommand(['PUBLISH', CHANNEL, quantity]), 2)
    const seenMs = await seen
    await answered
    return seenMs - startedMs
  }
}

/** What both have to wait for, whoever waits and in whichever thread: the part that no program can do without. */
async function diskAppend({ workplace }: BenchmarkContext): Promise<Change> {
  const path = join(await workplace.directory('disk'), 'appended')
  const { O_APPEND, O_CREAT, O_DSYNC, O_WRONLY } = constants
  const file = await open(path, O_APPEND | O_CREAT | O_DSYNC | O_WRONLY)
  workplace.onClose(() => file.close())
  const bytes = new Uint8Array(APPEND_BYTES)
  return async () => {
    const startedMs = monotonicMs()
    await file.write(bytes)
    return monotonicMs() - startedMs
  }
}

/** What the observer tells: when it saw which quantity where. */
class Sightings {
  private waiting: { system: string; quantity: number; see: (atMs: number) => void } | undefined

  constructor(observer: Child<ObserverChild>) {
    observer.onNews = (news) => this.heard(news as Sighting)
  }

  next(system: Sighting['system'], quantity: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${system}: ${quantity} not seen after ${TIMEOUT_MS} ms`)),
        TIMEOUT_MS,
      )
      const see = (atMs: number) => {
        clearTimeout(timer)
        resolve(atMs)
      }
      this.waiting = { system, quantity, see }
    })
  }

  private heard({ system, quantity, atMs }: Sighting): void {
    if (this.waiting?.system !== system || this.waiting.quantity !== quantity) return
    this.waiting.see(atMs)
    this.waiting = undefined
  }
}
