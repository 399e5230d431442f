import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { MeshNode } from '../../src/index.js'
import { serveParent } from './child.js'
import { itemKey } from './items.js'

export interface WithdrawServerOptions {
  readonly serverId: string
  readonly secret: Uint8Array
  readonly dataDir: string
  readonly peers: readonly string[]
}

export interface WithdrawLoad {
  readonly storage: string
  readonly items: number
  readonly perSecond: number
  readonly seconds: number
}

export interface WithdrawShare {
  readonly backed: number
  readonly provisional: number
}

/** A game server's tick. */
const TICK_MS = 50
const POLL_MS = 10

let node: MeshNode | undefined

function running(): MeshNode {
  if (!node) throw new Error('not started')
  return node
}

async function start(options: WithdrawServerOptions): Promise<string> {
  node = await MeshNode.start({ clusterId: 'bench', ...options, listen: { host: '127.0.0.1', port: 0 } })
  await node.ready
  return node.address
}

async function deposit({ storage, items, amount }: { storage: string; items: number; amount: number }) {
  for (let position = 0; position < items; position++)
    running().storage(storage).deposit(itemKey(position), amount)
  await running().flush()
}

/** Until this server sees so much of each item. */
async function sees({ storage, items, amount }: { storage: string; items: number; amount: number }) {
  for (let position = 0; position < items; position++) {
    while (running().storage(storage).quantity(itemKey(position)) < BigInt(amount)) await delay(POLL_MS)
  }
}

/** Takes single items, spread over the ticks, whatever they turn out to be. */
async function withdraw({ storage, items, perSecond, seconds }: WithdrawLoad): Promise<WithdrawShare> {
  const vault = running().storage(storage)
  const share = { backed: 0, provisional: 0 }
  const startedMs = performance.now()
  let taken = 0
  for (let elapsedMs = 0; elapsedMs < seconds * 1000; elapsedMs = performance.now() - startedMs) {
    const due = Math.floor((elapsedMs / 1000) * perSecond)
    for (; taken < due; taken++) share[vault.withdrawNow(itemKey(taken % items), 1).kind] += 1
    await delay(TICK_MS)
  }
  return share
}

const handlers = { start, deposit, sees, withdraw }
export type WithdrawServerChild = typeof handlers

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  serveParent(handlers, async () => {
    await node?.stop()
  })
}
