import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { MeshNode } from '../../src/index.js'
import { serveParent } from './child.js'
import { itemKey } from './items.js'
import { type Stalls, StallWatch } from './stall-watch.js'

export interface SyncServerOptions {
  readonly serverId: string
  readonly secret: Uint8Array
  readonly dataDir: string
  readonly peers: readonly string[]
  /** Left out: it only dials. */
  readonly reached?: { readonly port: number; readonly advertise: string }
}

/** Deposits in a turn: a few milliseconds of work. */
const TURN_DEPOSITS = 4096
const POLL_MS = 5

let node: MeshNode | undefined
let watch: StallWatch | undefined
let counters = 0

function running(): MeshNode {
  if (!node) throw new Error('not started')
  return node
}

async function start({ reached, ...options }: SyncServerOptions): Promise<void> {
  const listen = reached && {
    listen: { host: '127.0.0.1', port: reached.port },
    advertise: reached.advertise,
  }
  node = await MeshNode.start({ clusterId: 'bench', ...options, ...listen })
}

async function fill(cells: number): Promise<{ elapsedMs: number }> {
  const startedMs = performance.now()
  const storage = running().storage('vault')
  while (counters < cells) {
    const end = Math.min(counters + TURN_DEPOSITS, cells)
    for (; counters < end; counters++) storage.deposit(itemKey(counters), 1)
    await nextTurn()
  }
  await running().flush()
  return { elapsedMs: performance.now() - startedMs }
}

/** To counters that are there, spread over all of them. */
async function deposit(cells: number): Promise<void> {
  const storage = running().storage('vault')
  for (let count = 0; count < cells; count++) {
    storage.deposit(itemKey(Math.floor((count * counters) / cells)), 1)
  }
  await running().flush()
}

/** Which replica this server writes as, and how far it is. */
function position(): { replica: string; number: number } {
  const { replica, partitions } = running().status()
  return { replica, number: partitions[0]!.versionVector[replica]! }
}

async function caughtUp({ replica, number }: { replica: string; number: number }): Promise<void> {
  while ((running().status().partitions[0]!.versionVector[replica] ?? 0) < number) await delay(POLL_MS)
}

/** Equal on both servers once one has all that the other has. */
function content(): string {
  let sum = 0n
  let items = 0
  for (const { quantity } of running().storage('vault').items()) {
    sum += quantity
    items += 1
  }
  return `${items} items, ${sum}`
}

function watchStalls(): void {
  watch = new StallWatch()
}

function stalls(): Stalls {
  if (!watch) throw new Error('stalls were not watched')
  return watch.stop()
}

function memory(): { residentMb: number; peakMb: number } {
  return {
    residentMb: process.memoryUsage.rss() / 1e6,
    peakMb: (process.resourceUsage().maxRSS * 1024) / 1e6,
  }
}

const handlers = { start, fill, deposit, position, caughtUp, content, watchStalls, stalls, memory }
export type SyncServerChild = typeof handlers

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  serveParent(handlers, async () => {
    await node?.stop()
  })
}
