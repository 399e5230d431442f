import t from 'tap'
import type { AppendFile, Channel, Environment } from '../../src/environment/environment.js'
import { Cluster } from '../../src/simulation/cluster/cluster.js'
import { DEFAULT_DISK_PROFILE } from '../../src/simulation/disk/store.js'
import { drawFaults, NO_FAULTS } from '../../src/simulation/faults/draw-faults.js'
import { describeFault, type Fault } from '../../src/simulation/faults/fault.js'
import { FaultInjector } from '../../src/simulation/faults/injector.js'
import { SeededRandom } from '../../src/simulation/kernel/random.js'
import { DEFAULT_PROFILE } from '../../src/simulation/network/conditions.js'
import { renderPage } from '../../src/simulation/page/render-page.js'
import { shrink } from '../../src/simulation/shrink.js'

const SERVERS = ['ash', 'birch', 'cedar']
const addressOf = (server: number) => ({ host: SERVERS[server]!, port: 7000 })
const KEY = { publicKey: new Uint8Array(32), secretKey: new Uint8Array(64) }

/**
 * A toy to try the simulator on: each server counts its own clicks, journals the total, and tells the
 * others all totals it knows, keeping the greater. Broken on request: it answers before it has journalled.
 */
class ToyNode {
  readonly totals = SERVERS.map(() => 0)
  readonly channels = new Set<Channel>()
  private file!: AppendFile

  constructor(
    readonly server: number,
    readonly environment: Environment,
    readonly persistFirst: boolean,
  ) {}

  async start(): Promise<this> {
    const { disk, network } = this.environment
    await disk.makeDirectory('data')
    await disk.lock('data')
    this.file = await disk.openAppend('data/totals')
    await disk.syncDirectory('data')
    const reader = await disk.openRead('data/totals')
    const stored = await reader.read(0, reader.size)
    const length = stored.indexOf(0) < 0 ? stored.length : stored.indexOf(0)
    this.totals[this.server] = length
    if (length < this.file.size) await this.file.truncate(length)
    await network.listen({
      ...addressOf(this.server),
      keyPair: KEY,
      handshakeTimeoutMs: 1_000,
      onChannel: (channel) => this.adopt(channel),
    })
    for (let peer = 0; peer < this.server; peer++) this.dial(peer)
    this.gossip()
    return this
  }

  async stop(): Promise<void> {
    for (const channel of this.channels) channel.close('stopping')
  }

  async click(): Promise<number> {
    const writing = this.file.append([new Uint8Array([1])], { durable: true })
    if (this.persistFirst) await writing
    else writing.catch(() => undefined)
    this.totals[this.server]! += 1
    return this.totals[this.server]!
  }

  private gossip(): void {
    for (const channel of this.channels) channel.send(Uint8Array.from(this.totals))
    this.environment.scheduler.after(100, () => this.gossip())
  }

  private dial(peer: number): void {
    const { host, port } = addressOf(peer)
    const again = () => {
      this.environment.scheduler.after(300, () => this.dial(peer))
    }
    this.environment.network
      .dial({ address: `ws://${host}:${port}`, keyPair: KEY, handshakeTimeoutMs: 1_000 })
      .then((channel) => this.adopt(channel, again), again)
  }

  private adopt(channel: Channel, again?: () => void): void {
    this.channels.add(channel)
    channel.setHandler({
      message: (message) => {
        message.forEach((total, server) => {
          this.totals[server] = Math.max(this.totals[server]!, total)
        })
      },
      drain: () => undefined,
      closed: () => {
        this.channels.delete(channel)
        again?.()
      },
    })
  }
}

interface Outcome {
  readonly violation: string | undefined
  readonly hash: string
  readonly cluster: Cluster<ToyNode>
}

const SAFETY_MS = 20_000

async function run(
  seed: number,
  persistFirst: boolean,
  faults: readonly Fault[],
  record = false,
): Promise<Outcome> {
  const acknowledged = SERVERS.map(() => 0)
  let violation: string | undefined
  const cluster = new Cluster<ToyNode>(
    {
      seed,
      names: SERVERS,
      network: { ...DEFAULT_PROFILE, unacknowledgedTimeoutUs: 3_000_000 },
      disk: { ...DEFAULT_DISK_PROFILE, syncUs: 10_000 },
      maxClockDrift: 0.001,
      maxWallOffsetMs: 1_000,
      record,
    },
    (server, environment) => new ToyNode(server, environment, persistFirst).start(),
    {
      running: (server, node) => {
        const kept = node.totals[server.number]!
        if (kept < acknowledged[server.number]!) {
          violation ??= `${server.name} forgot: ${acknowledged[server.number]} acknowledged, ${kept} kept`
        }
      },
      gone: () => undefined,
      startFailed: (_, error) => t.fail('a node does not start', { error }),
      stopFailed: (_, error) => t.fail('a node does not stop', { error }),
      uncaught: (_, error) => t.fail('a node throws', { error }),
      diskReplaced: () => undefined,
      diskDamaged: () => undefined,
    },
  )
  for (const server of cluster.servers) server.start()
  const draw = new SeededRandom(`clicks-${seed}`)
  for (let click = 0; click < 60; click++) {
    const server = cluster.servers[draw.integer(0, 2)]!
    cluster.after(draw.integer(0, SAFETY_MS), () =>
      cluster.within(server, (node) => {
        const acknowledge = (total: number) => {
          acknowledged[server.number] = Math.max(acknowledged[server.number]!, total)
        }
        void node.click().then(acknowledge, () => undefined)
      }),
    )
  }
  const injector = new FaultInjector(cluster)
  injector.begin(faults)
  await cluster.pass(SAFETY_MS)
  injector.end()
  injector.repair([0, 1, 2])
  await cluster.pass(60_000)
  const totals = cluster.servers.map(({ node }) => node?.totals.join())
  if (new Set(totals).size > 1 || totals[0] === undefined)
    violation ??= `no convergence: ${totals.join(' | ')}`
  return { violation, hash: cluster.kernel.hash.digest(), cluster }
}

const WEATHER = { ...NO_FAULTS, crash: 4, partition: 4, freeze: 4, lag: 2, break: 6, 'slow-disk': 3, stop: 2 }
const faultsOf = (seed: number) => drawFaults(new SeededRandom(`toy-${seed}`), 3, SAFETY_MS, WEATHER)

t.test('a correct toy passes under every weather, and each seed is one history', async (t) => {
  const hashes = new Set<string>()
  for (let seed = 0; seed < 40; seed++) {
    const { violation, hash } = await run(seed, true, faultsOf(seed))
    t.equal(violation, undefined, `seed ${seed}`)
    hashes.add(hash)
    if (seed % 8 === 0)
      t.equal((await run(seed, true, faultsOf(seed), true)).hash, hash, 'also when recorded')
  }
  t.equal(hashes.size, 40)
})

t.test('a broken toy is caught, and the cause is found: a crash', async (t) => {
  let seed = 0
  while (seed < 30 && (await run(seed, false, faultsOf(seed))).violation === undefined) seed++
  t.ok(seed < 30, `caught by seed ${seed}`)
  const fails = async (subset: readonly Fault[]) => (await run(seed, false, subset)).violation !== undefined
  const { kept } = await shrink(faultsOf(seed), fails, 200)
  t.match(kept.map(describeFault).join('\n'), /crash {2}server=\d/)
  t.ok(kept.length <= 2, `${kept.length} of ${faultsOf(seed).length} faults are needed`)

  const { violation, hash, cluster } = await run(seed, false, kept, true)
  const page = renderPage({
    title: 'toy <clicks>',
    seed: String(seed),
    traceHash: hash,
    servers: SERVERS,
    facts: { seed: String(seed), 'trace hash': hash },
    faults: kept.map((fault) => ({ atUs: fault.atMs * 1000, text: describeFault(fault) })),
    violation: { invariant: 'T1', detail: violation!, atUs: cluster.kernel.nowUs },
    endUs: cluster.kernel.nowUs,
    trace: cluster.recorder!.trace(),
  })
  t.match(page, 'toy &lt;clicks&gt;')
  t.match(page, hash)
  t.notMatch(page, /(src|href)=|https?:/, 'nothing is loaded from elsewhere')
  const data = JSON.parse(/id="data">(.*?)<\/script>/s.exec(page)![1]!)
  t.same(data.servers, SERVERS)
  t.ok(data.messages.length > 500)
  t.ok(data.messages.every(([, , sent, received]: number[]) => sent! < received!))
  t.ok(data.spans.some((span: { kind: string }) => span.kind === 'down'))
  if (process.env.PAGE_FILE) {
    const { writeFileSync } = await import('node:fs')
    writeFileSync(process.env.PAGE_FILE, page)
  }
})
