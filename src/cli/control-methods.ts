import * as v from 'valibot'
import type { Scheduler } from '../environment/environment.js'
import { nextTurn } from '../environment/next-turn.js'
import type { MeshNode } from '../node/mesh-node.js'
import type { Receipt } from '../node/receipt.js'
import type { Storage } from '../node/storage.js'
import type { OperationOptions } from '../node/withdraw-options.js'
import { CONSISTENCY_LEVELS, READ_LEVELS } from '../sync/consistency.js'
import { auditMethods } from './audit-methods.js'
import { describeMember, describeStatus } from './describe.js'
import { ledger } from './ledger-stream.js'
import type { JsonValue } from './output.js'
import { nothing, read, timeoutMs } from './params.js'
import { strongMethods } from './strong-methods.js'
import { watch } from './watch-stream.js'
import { withdrawalMethods } from './withdrawal-methods.js'

export type CallMethod = (params: unknown) => Promise<JsonValue>
/** Resolves when there is nothing more to send. */
export type StreamMethod = (params: unknown, send: Send, signal: AbortSignal) => Promise<void>
/** Resolves when the reader can take more. */
export type Send = (item: JsonValue) => Promise<void>

export interface ControlMethods {
  readonly calls: Readonly<Record<string, CallMethod>>
  readonly streams: Readonly<Record<string, StreamMethod>>
}

/** Items looked at before other work of the node has its turn. */
const ITEMS_A_TURN = 500
/** Longest text of an amount that is parsed; the largest amount has 155 digits. */
const MAX_AMOUNT_DIGITS = 160

const place = { storage: v.string(), world: v.optional(v.string()) }
const change = {
  ...place,
  item: v.string(),
  amount: v.pipe(
    v.string(),
    v.maxLength(MAX_AMOUNT_DIGITS),
    v.regex(/^\d+$/, 'a whole number of items expected'),
  ),
  level: v.optional(v.picklist(CONSISTENCY_LEVELS), 'LOCAL'),
  timeout_ms: timeoutMs,
  by: v.optional(v.string()),
  operation_id: v.optional(v.string()),
}
const depositSchema = v.strictObject(change)
const withdrawSchema = v.strictObject({
  ...change,
  mode: v.optional(v.picklist(['optimistic', 'backed'])),
})
const showSchema = v.strictObject({
  ...place,
  level: v.optional(v.picklist(READ_LEVELS), 'LOCAL'),
  timeout_ms: v.optional(timeoutMs),
})

const releaseSchema = v.strictObject({ server_id: v.string() })

/** What a running node can be asked through its control socket. */
export function controlMethods(node: MeshNode, scheduler: Scheduler): ControlMethods {
  const status: CallMethod = async (params) => {
    read(nothing, params)
    return describeStatus(node.status())
  }
  const members: StreamMethod = async (params, send, signal) => {
    read(nothing, params)
    for (const member of node.members()) {
      if (signal.aborted) return
      await send(describeMember(member))
    }
  }
  const strong = strongMethods(node, scheduler)
  const withdrawals = withdrawalMethods(node)
  return {
    calls: {
      members_release: async (params) => {
        const { server_id: serverId } = read(releaseSchema, params)
        await node.releaseName(serverId).durable
        return { server_id: serverId, released: true }
      },
      status,
      deposit: (params) => deposit(node, params),
      withdraw: (params) => withdraw(node, params),
      ...strong.calls,
      ...withdrawals.calls,
    },
    streams: {
      ...strong.streams,
      ...withdrawals.streams,
      ...auditMethods(node),
      ledger: ledger(node),
      members,
      storages: listStorages(node, scheduler),
      storage: showStorage(node, scheduler),
      watch: watch(node, scheduler),
    },
  }
}

async function deposit(node: MeshNode, params: unknown): Promise<JsonValue> {
  const asked = read(depositSchema, params)
  const storage = openStorage(node, asked.storage, asked.world)
  const receipt = storage.deposit(asked.item, BigInt(asked.amount), askedBy(asked))
  await receipt.reached(asked.level, { timeoutMs: asked.timeout_ms })
  return describeChange(storage, receipt, asked)
}

async function withdraw(node: MeshNode, params: unknown): Promise<JsonValue> {
  const { mode, ...asked } = read(withdrawSchema, params)
  const { amount, item, level, timeout_ms: timeoutMs } = asked
  const storage = openStorage(node, asked.storage, asked.world)
  const options = { level, timeoutMs, ...(mode && { mode }), ...askedBy(asked) }
  const taken = await storage.withdraw(item, BigInt(amount), options)
  return { ...describeChange(storage, taken, asked), kind: taken.kind, withdrawal_id: taken.id ?? null }
}

function askedBy({ by, operation_id: operationId }: v.InferOutput<typeof depositSchema>): OperationOptions {
  return { ...(by !== undefined && { by }), ...(operationId !== undefined && { operationId }) }
}

/** What was done, and what there is now. */
function describeChange(
  storage: Storage,
  receipt: Receipt,
  { item, level, world }: Pick<v.InferOutput<typeof depositSchema>, 'item' | 'level' | 'world'>,
) {
  const quantity = storage.quantity(item).toString()
  return {
    storage: storage.id,
    world: world ?? null,
    item,
    amount: receipt.amount.toString(),
    quantity,
    level,
  }
}

function listStorages(node: MeshNode, scheduler: Scheduler): StreamMethod {
  return async (params, send, signal) => {
    read(nothing, params)
    for (const { id, world } of node.storageIds()) {
      let kinds = 0
      let total = 0n
      for await (const { quantity } of inTurns(openStorage(node, id, world).items(), scheduler)) {
        if (signal.aborted) return
        kinds += 1
        total += quantity
      }
      await send({ storage: id, world: world ?? null, items: kinds, quantity: total.toString() })
    }
  }
}

function showStorage(node: MeshNode, scheduler: Scheduler): StreamMethod {
  return async (params, send, signal) => {
    const { level, storage: id, timeout_ms: timeoutMs, world } = read(showSchema, params)
    const storage = openStorage(node, id, world)
    const options = { level, signal, ...(timeoutMs !== undefined && { timeoutMs }) }
    const items = level === 'LOCAL' ? storage.items() : await storage.readItems(options)
    for await (const { item, quantity } of inTurns(items, scheduler)) {
      if (signal.aborted) return
      await send({ item, quantity: quantity.toString() })
    }
  }
}

function openStorage(node: MeshNode, id: string, world: string | undefined): Storage {
  return node.storage(id, world === undefined ? {} : { world })
}

async function* inTurns<T>(values: Iterable<T>, scheduler: Scheduler): AsyncGenerator<T> {
  let count = 0
  for (const value of values) {
    if (++count % ITEMS_A_TURN === 0) await nextTurn(scheduler)
    yield value
  }
}
