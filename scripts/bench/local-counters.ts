import { setImmediate as nextTurn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { MeshNode, type Storage } from '../../src/index.js'
import { serveParent } from './child.js'
import { itemKey, itemKeys } from './items.js'
import { median } from './statistics.js'

export const COUNTERS = 1_000_000
/** Deposits in a turn: a few milliseconds of work. */
const TURN_DEPOSITS = 4096
const ROUNDS = 5
/** Deposits measured in a round. */
const ROUND_DEPOSITS = 200_000

export interface CountersResult {
  readonly nodeMb: number
  readonly fullMb: number
  /** Nanoseconds in the calls of `deposit` alone, and with everything that the node does about them later. */
  readonly callNs: number
  readonly allNs: number
  readonly mapNs: number
}

const handlers = { measure }
export type CountersChild = typeof handlers

if (process.argv[1] === fileURLToPath(import.meta.url)) serveParent(handlers, async () => undefined)

async function measure(): Promise<CountersResult> {
  const node = await MeshNode.start({ clusterId: 'bench', serverId: 'counters', secret: new Uint8Array(32) })
  const storage = node.storage('vault')
  const nodeMb = await residentMb()
  for (let first = 0; first < COUNTERS; first += TURN_DEPOSITS) {
    const end = Math.min(first + TURN_DEPOSITS, COUNTERS)
    for (let position = first; position < end; position++) storage.deposit(itemKey(position), 1)
    await nextTurn()
  }
  await node.flush()
  const fullMb = await residentMb()
  const keys = itemKeys(COUNTERS)
  const map = new Map(keys.map((key) => [key, 0]))
  const calls: number[] = []
  const all: number[] = []
  const increments: number[] = []
  for (let round = -1; round < ROUNDS; round++) {
    const first = ((round + 1) * ROUND_DEPOSITS) % COUNTERS
    // Each its own keys: whoever came second would find them in the processor's cache.
    const plain = mapIncrements(map, keys, (first + COUNTERS / 2) % COUNTERS)
    const ours = await deposits(node, storage, keys, first)
    if (round < 0) continue
    calls.push(ours.callNs)
    all.push(ours.allNs)
    increments.push(plain)
  }
  await node.stop()
  return { nodeMb, fullMb, callNs: median(calls), allNs: median(all), mapNs: median(increments) }
}

async function deposits(
  node: MeshNode,
  storage: Storage,
  keys: readonly string[],
  first: number,
): Promise<{ callNs: number; allNs: number }> {
  const startedMs = performance.now()
  let calledMs = 0
  for (let done = 0; done < ROUND_DEPOSITS; ) {
    const turnMs = performance.now()
    const end = Math.min(done + TURN_DEPOSITS, ROUND_DEPOSITS)
    for (; done < end; done++) storage.deposit(keys[(first + done) % COUNTERS]!, 1)
    calledMs += performance.now() - turnMs
    await nextTurn()
  }
  await node.flush()
  const allMs = performance.now() - startedMs
  return { callNs: (calledMs * 1e6) / ROUND_DEPOSITS, allNs: (allMs * 1e6) / ROUND_DEPOSITS }
}

function mapIncrements(map: Map<string, number>, keys: readonly string[], first: number): number {
  const startedMs = performance.now()
  for (let done = 0; done < ROUND_DEPOSITS; done++) {
    const key = keys[(first + done) % COUNTERS]!
    map.set(key, map.get(key)! + 1)
  }
  return ((performance.now() - startedMs) * 1e6) / ROUND_DEPOSITS
}

async function residentMb(): Promise<number> {
  for (let count = 0; count < 3; count++) {
    globalThis.gc?.()
    await nextTurn()
  }
  return process.memoryUsage.rss() / 1e6
}
