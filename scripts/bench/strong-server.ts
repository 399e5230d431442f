import { MeshNode } from '../../src/index.js'
import type { StrongStore } from '../../src/strong/strong-store.js'
import { serveParent } from './child.js'
import { type LoadResult, load } from './load.js'
import { monotonicMs } from './statistics.js'

export interface StrongServerOptions {
  readonly serverId: string
  readonly secret: Uint8Array
  readonly dataDir: string
  readonly port: number
  readonly peers: readonly string[]
  readonly found: boolean
}

export interface StrongLoad {
  readonly kind: 'put' | 'read' | 'lock'
  readonly inFlight: number
  readonly seconds: number
}

const KEYS = 1_000
const VALUE = new Uint8Array(64).fill(7)

let node: MeshNode | undefined

function running(): MeshNode {
  if (!node) throw new Error('not started')
  return node
}

/** The store below anchors, transfers and locks, so that like is compared with like. */
function store(): StrongStore {
  return (running() as unknown as { core: { strong: StrongStore } }).core.strong
}

async function start({ port, ...options }: StrongServerOptions): Promise<void> {
  const listen = { host: '127.0.0.1', port }
  node = await MeshNode.start({ clusterId: 'bench', listen, ...options })
}

function put(number: number): Promise<unknown> {
  const key = `key-${number % KEYS}`
  return store().transact({ success: [{ kind: 'put', key, value: VALUE, lease: 0 }] }, { timeoutMs: 20_000 })
}

async function read(number: number): Promise<unknown> {
  await store().barrier({ timeoutMs: 20_000 })
  return store().get(`key-${number % KEYS}`)
}

function lock(): Promise<unknown> {
  return running().executeAtomic('bench', async () => undefined)
}

const OPERATIONS = { put, read, lock }

function run({ kind, inFlight, seconds }: StrongLoad): Promise<LoadResult> {
  return load(inFlight, seconds, OPERATIONS[kind])
}

/** When, on the machine's clock, the next write was done. */
async function nextWrite(): Promise<number> {
  await put(0)
  return monotonicMs()
}

function view() {
  const raft = running().raft()
  return { role: raft?.role, voters: raft?.peers.filter(({ voter }) => voter).length ?? 0 }
}

const handlers = { start, run, nextWrite, view }
export type StrongServerChild = typeof handlers

serveParent(handlers, async () => {
  await node?.stop()
})
