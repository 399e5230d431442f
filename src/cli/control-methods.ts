import * as v from 'valibot'
import type { Scheduler } from '../environment/environment.js'
import type { MeshNode } from '../node/mesh-node.js'
import type { Storage } from '../node/storage.js'
import { CONSISTENCY_LEVELS } from '../sync/consistency.js'
import { InvalidArgumentError } from '../sync/errors.js'
import { describeMember, describeStatus } from './describe.js'
import type { JsonValue } from './output.js'
import { watch } from './watch-stream.js'

export type CallMethod = (params: unknown) => Promise<JsonValue>
/** Resolves when there is nothing more to send. `send` resolves when the reader can take more. */
export type StreamMethod = (
  params: unknown,
  send: (item: JsonValue) => Promise<void>,
  signal: AbortSignal,
) => Promise<void>

export interface ControlMethods {
  readonly calls: Readonly<Record<string, CallMethod>>
  readonly streams: Readonly<Record<string, StreamMethod>>
}

/** Items looked at before other work of the node has its turn. */
const ITEMS_A_TURN = 500
/** Longest text of an amount that is parsed; the largest amount has 155 digits. */
const MAX_AMOUNT_DIGITS = 160
export const MAX_LEVEL_TIMEOUT_MS = 60_000

const nothing = v.strictObject({})
const place = { storage: v.string(), world: v.optional(v.string()) }
const change = v.strictObject({
  ...place,
  item: v.string(),
  amount: v.pipe(
    v.string(),
    v.maxLength(MAX_AMOUNT_DIGITS),
    v.regex(/^\d+$/, 'a whole number of items expected'),
  ),
  level: v.optional(v.picklist(CONSISTENCY_LEVELS), 'LOCAL'),
  timeout_ms: v.optional(
    v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_LEVEL_TIMEOUT_MS)),
    5_000,
  ),
})

/** What a running node can be asked through its control socket. */
export function controlMethods(node: MeshNode, scheduler: Scheduler): ControlMethods {
  const status: CallMethod = async (params) => {
    read(nothing, params)
    return describeStatus(node.status())
  }
  const change =
    (kind: 'deposit' | 'withdraw'): CallMethod =>
    (params) =>
      changeQuantity(node, kind, params)
  const members: StreamMethod = async (params, send, signal) => {
    read(nothing, params)
    for (const member of node.members()) {
      if (signal.aborted) return
      await send(describeMember(member))
    }
  }
  return {
    calls: { status, deposit: change('deposit'), withdraw: change('withdraw') },
    streams: {
      members,
      storages: (params, send, signal) => listStorages(node, scheduler, params, send, signal),
      storage: (params, send, signal) => showStorage(node, scheduler, params, send, signal),
      watch: (params, send, signal) =>
        watch(
          node,
          scheduler,
          read(v.strictObject({ storage: v.optional(v.string()) }), params),
          send,
          signal,
        ),
    },
  }
}

async function changeQuantity(
  node: MeshNode,
  kind: 'deposit' | 'withdraw',
  params: unknown,
): Promise<JsonValue> {
  const { storage: id, world, item, amount, level, timeout_ms: timeoutMs } = read(change, params)
  const storage = openStorage(node, id, world)
  const receipt =
    kind === 'deposit' ? storage.deposit(item, BigInt(amount)) : await storage.withdraw(item, BigInt(amount))
  if (level === 'LOCAL' || level === 'EVENTUAL') await receipt.durable
  else await receipt.reached(level, { timeoutMs })
  const quantity = storage.quantity(item).toString()
  return { storage: id, world: world ?? null, item, amount: receipt.amount.toString(), quantity, level }
}

async function listStorages(
  node: MeshNode,
  scheduler: Scheduler,
  params: unknown,
  send: (item: JsonValue) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
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

async function showStorage(
  node: MeshNode,
  scheduler: Scheduler,
  params: unknown,
  send: (item: JsonValue) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { storage, world } = read(v.strictObject(place), params)
  for await (const { item, quantity } of inTurns(openStorage(node, storage, world).items(), scheduler)) {
    if (signal.aborted) return
    await send({ item, quantity: quantity.toString() })
  }
}

function openStorage(node: MeshNode, id: string, world: string | undefined): Storage {
  return node.storage(id, world === undefined ? {} : { world })
}

async function* inTurns<T>(values: Iterable<T>, scheduler: Scheduler): AsyncGenerator<T> {
  let count = 0
  for (const value of values) {
    if (++count % ITEMS_A_TURN === 0) await new Promise<void>((resolve) => scheduler.soon(resolve))
    yield value
  }
}

/** @throws InvalidArgumentError naming the parameter */
function read<const Schema extends v.GenericSchema>(schema: Schema, params: unknown): v.InferOutput<Schema> {
  const result = v.safeParse(schema, params)
  if (result.success) return result.output
  const [issue] = result.issues
  throw new InvalidArgumentError(
    `${issue.path?.map(({ key }) => String(key)).join('.') ?? 'params'}: ${issue.message}`,
  )
}
