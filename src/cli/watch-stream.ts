import * as v from 'valibot'
import type { Scheduler } from '../environment/environment.js'
import type { MeshNode } from '../node/mesh-node.js'
import type { NodeEvents } from '../node/node-events.js'
import type { Storage } from '../node/storage.js'
import { WatchStream } from '../registry/watch-stream.js'
import type { Send, StreamMethod } from './control-methods.js'
import { describeEvent } from './describe.js'
import type { JsonValue } from './output.js'
import { read } from './params.js'

/** A storage made after the watch began is noticed within this time. */
export const STORAGE_SCAN_MS = 250

const schema = v.strictObject({ storage: v.optional(v.string()) })

/**
 * What happens on a node from now on: quantities, events, links. Quantities are latest values (a slow reader
 * skips steps); the rest is a bounded queue whose overflow ends the watch with OverloadedError.
 */
export function watch(node: MeshNode, scheduler: Scheduler): StreamMethod {
  return async (params, send, signal) => {
    const { storage } = read(schema, params)
    // Whatever ends one part, ends all.
    const ended = new AbortController()
    const any = AbortSignal.any([signal, ended.signal])
    const parts = [watchStorages(node, scheduler, storage, send, any)]
    if (storage === undefined) parts.push(watchEvents(node, send, any))
    try {
      // All is subscribed by now: what happens after this line has been sent, is seen.
      await send({ type: 'watching', server_id: node.identity.serverId })
      await Promise.race(parts)
    } finally {
      ended.abort()
      await Promise.allSettled(parts)
    }
  }
}

async function watchStorages(
  node: MeshNode,
  scheduler: Scheduler,
  only: string | undefined,
  send: Send,
  signal: AbortSignal,
): Promise<void> {
  const watched = new Map<Storage, Promise<void>>()
  let failure: { readonly error: unknown } | undefined
  const look = async (isFirst: boolean) => {
    for (const { id, world } of node.storageIds()) {
      if (only !== undefined && id !== only) continue
      const storage = node.storage(id, world === undefined ? {} : { world })
      if (watched.has(storage)) continue
      const changes = storage.changes({ signal })
      const followed = follow(storage, changes, send).catch((error: unknown) => {
        failure ??= { error }
      })
      watched.set(storage, followed)
      // What came before it was noticed is news too.
      if (!isFirst)
        for (const { item, quantity } of storage.items()) await send(describeChange(storage, item, quantity))
    }
  }
  await look(true)
  while (!signal.aborted) {
    await pause(scheduler, STORAGE_SCAN_MS, signal)
    if (failure) throw failure.error
    if (!signal.aborted) await look(false)
  }
  await Promise.all(watched.values())
}

async function follow(storage: Storage, changes: ReturnType<Storage['changes']>, send: Send): Promise<void> {
  for await (const { item, quantity } of changes) await send(describeChange(storage, item, quantity))
}

function describeChange({ id, world }: Storage, item: string, quantity: bigint): JsonValue {
  return { type: 'change', storage: id, world: world ?? null, item, quantity: quantity.toString() }
}

/** Node events that a watch shows, and how. 'event' has serverJoin and serverLeave in it as well. */
const SHOWN: { readonly [Name in keyof NodeEvents]?: (...args: NodeEvents[Name]) => JsonValue } = {
  event: (event) => describeEvent(event),
  linkUp: ({ serverId, address }) => ({ type: 'link_up', server_id: serverId, address }),
  linkDown: ({ serverId, reason }) => ({ type: 'link_down', server_id: serverId, reason }),
  linkRefused: ({ peer, reason, detail, by }) => ({ type: 'link_refused', peer, reason, detail, by }),
  incarnation: ({ replica, before }) => ({ type: 'incarnation', replica, before }),
  journal: ({ status, error }) => ({ type: 'journal', status, error: error?.message ?? null }),
  mismatch: ({ serverId, partition, replica }) => ({
    type: 'mismatch',
    server_id: serverId,
    partition,
    replica,
  }),
}

async function watchEvents(node: MeshNode, send: Send, signal: AbortSignal): Promise<void> {
  const stream = new WatchStream<JsonValue>(() => undefined, signal)
  const listeners = (Object.keys(SHOWN) as (keyof NodeEvents)[]).map((name) => {
    const describe = SHOWN[name] as (...args: unknown[]) => JsonValue
    const listener = (...args: unknown[]) => stream.push(describe(...args))
    return { name, listener }
  })
  const end = () => stream.end()
  for (const { name, listener } of listeners) node.on(name, listener)
  node.on('stopped', end)
  try {
    for await (const item of stream) await send(item)
  } finally {
    for (const { name, listener } of listeners) node.off(name, listener)
    node.off('stopped', end)
  }
}

function pause(scheduler: Scheduler, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      timer.cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = scheduler.after(delayMs, done)
    signal.addEventListener('abort', done, { once: true })
  })
}
