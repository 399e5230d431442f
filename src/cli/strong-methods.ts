import * as v from 'valibot'
import type { Scheduler } from '../environment/environment.js'
import type { MeshNode } from '../node/mesh-node.js'
import type { Page } from '../registry/pages.js'
import type { Transfer } from '../registry/transfer.js'
import { NoQuorumError, NotFoundError, OutcomeUnknownError } from '../sync/errors.js'
import type { CallMethod, ControlMethods, StreamMethod } from './control-methods.js'
import { describeAnchor, describeRaft, describeTransfer, describeTransferRun } from './describe.js'
import type { JsonValue } from './output.js'
import { nothing, read, timeoutMs } from './params.js'

const PAGE_SIZE = 500
const LOOK_MS = 20

const position = v.strictObject({ x: v.number(), y: v.number(), z: v.number() })
const metadata = v.optional(v.record(v.string(), v.union([v.string(), v.number(), v.boolean()])))
const id = v.optional(v.string())
const schemas = {
  raftTransfer: v.strictObject({ server_id: v.string(), timeout_ms: timeoutMs }),
  anchor: v.strictObject({
    id: v.string(),
    linearizable: v.optional(v.boolean(), false),
    timeout_ms: timeoutMs,
  }),
  anchorCreate: v.strictObject({
    id,
    storage: v.string(),
    world: v.string(),
    position,
    metadata,
    timeout_ms: timeoutMs,
  }),
  anchorDelete: v.strictObject({
    id: v.string(),
    cascade: v.optional(v.boolean(), false),
    timeout_ms: timeoutMs,
  }),
  anchors: v.strictObject({ world: v.optional(v.string()), storage: v.optional(v.string()) }),
  transferCreate: v.strictObject({
    id,
    from: v.string(),
    to: v.string(),
    items: v.array(v.string()),
    rate: v.optional(v.number()),
    metadata,
    timeout_ms: timeoutMs,
  }),
  transfer: v.strictObject({ id: v.string(), timeout_ms: timeoutMs }),
  transferDelete: v.strictObject({ id: v.string(), timeout_ms: timeoutMs }),
  transfers: v.strictObject({ anchor: v.optional(v.string()) }),
}

/** Anchors, transfers and the strong group, for the control socket. */
export function strongMethods(node: MeshNode, scheduler: Scheduler): ControlMethods {
  return {
    calls: { ...raftCalls(node, scheduler), ...anchorCalls(node), ...transferCalls(node) },
    streams: {
      anchors: paged(schemas.anchors, describeAnchor, (page) => node.anchors.list(page)),
      transfers: paged(
        schemas.transfers,
        (transfer: Transfer) => describeTransferRun(transfer, node.transferRun(transfer.id)),
        (page) => node.transfers.list(page),
      ),
    },
  }
}

function raftCalls(node: MeshNode, scheduler: Scheduler): Record<string, CallMethod> {
  return {
    raft: async (params) => {
      read(nothing, params)
      const view = node.raft()
      return view === undefined ? null : describeRaft(view)
    },
    raft_transfer: async (params) => {
      const { server_id: server, timeout_ms: limitMs } = read(schemas.raftTransfer, params)
      const view = node.raft()
      if (view === undefined) throw new NoQuorumError('this server takes no part in the strong group yet')
      const peer = view.peers.find(({ serverId }) => serverId === server)
      if (!peer?.voter) {
        const voters = view.peers.filter(({ voter }) => voter).map(({ serverId }) => serverId)
        throw new NotFoundError(`${server} is no voter of the strong group; voters: ${voters.join(', ')}`)
      }
      node.transferLeadership(server)
      await leads(node, server, scheduler, limitMs)
      return describeRaft(node.raft()!)
    },
  }
}

async function leads(node: MeshNode, server: string, scheduler: Scheduler, limitMs: number): Promise<void> {
  let isLate = false
  const timer = scheduler.after(limitMs, () => {
    isLate = true
  })
  try {
    while (node.raft()?.leader !== server) {
      if (isLate) throw new OutcomeUnknownError(`${server} does not lead after ${limitMs} ms; it may yet`)
      await new Promise<void>((resolve) => scheduler.after(LOOK_MS, resolve))
    }
  } finally {
    timer.cancel()
  }
}

function anchorCalls({ anchors }: MeshNode): Record<string, CallMethod> {
  return {
    anchor: async (params) => {
      const { id, linearizable, timeout_ms: timeoutMs } = read(schemas.anchor, params)
      const anchor = await anchors.get(id, { linearizable, timeoutMs })
      if (anchor === undefined) throw new NotFoundError(`no anchor ${id} as this server sees it`)
      return describeAnchor(anchor)
    },
    anchor_create: async (params) => {
      const { timeout_ms: timeoutMs, ...input } = read(schemas.anchorCreate, params)
      return describeAnchor(await anchors.create(given(input), { timeoutMs }))
    },
    anchor_delete: async (params) => {
      const { id, cascade, timeout_ms: timeoutMs } = read(schemas.anchorDelete, params)
      await anchors.delete(id, { cascade, timeoutMs })
      return { id, deleted: true }
    },
  }
}

function transferCalls(node: MeshNode): Record<string, CallMethod> {
  const { transfers } = node
  return {
    transfer: async (params) => {
      const { id, timeout_ms: timeoutMs } = read(schemas.transfer, params)
      const transfer = await transfers.get(id, { timeoutMs })
      if (transfer === undefined) throw new NotFoundError(`no transfer ${id} as this server sees it`)
      return describeTransferRun(transfer, node.transferRun(id))
    },
    transfer_create: async (params) => {
      const { timeout_ms: timeoutMs, ...input } = read(schemas.transferCreate, params)
      return describeTransfer(await transfers.create(given(input), { timeoutMs }))
    },
    transfer_delete: async (params) => {
      const { id, timeout_ms: timeoutMs } = read(schemas.transferDelete, params)
      await transfers.delete(id, { timeoutMs })
      return { id, deleted: true }
    },
  }
}

function paged<Schema extends v.GenericSchema<unknown, object>, Entry>(
  schema: Schema,
  describe: (entry: Entry) => JsonValue,
  list: (page: Given<v.InferOutput<Schema>> & { limit: number; after?: string }) => Promise<Page<Entry>>,
): StreamMethod {
  return async (params, send, signal) => {
    const filter = given(read(schema, params) as v.InferOutput<Schema> & object)
    let after: string | undefined
    do {
      const page = await list({ ...filter, limit: PAGE_SIZE, ...(after !== undefined && { after }) })
      for (const entry of page.entries) {
        if (signal.aborted) return
        await send(describe(entry))
      }
      after = page.next
    } while (after !== undefined)
  }
}

type Given<Fields> = { [Name in keyof Fields]: Exclude<Fields[Name], undefined> }

/** Without what was left out: the node takes no undefined for absent. */
function given<Fields extends object>(fields: Fields): Given<Fields> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as Given<Fields>
}
