import * as v from 'valibot'
import type { LedgerEntry } from '../ledger/entry.js'
import type { MeshNode } from '../node/mesh-node.js'
import type { StreamMethod } from './control-methods.js'
import type { JsonValue } from './output.js'
import { read } from './params.js'

const schema = v.strictObject({
  item: v.optional(v.string()),
  storage: v.optional(v.string()),
  by: v.optional(v.string()),
  since_ms: v.optional(v.number()),
  limit: v.optional(v.number()),
  follow: v.optional(v.boolean(), false),
})

/** The ledger of a running node, for the control socket. */
export function ledger(node: MeshNode): StreamMethod {
  return async (params, send, signal) => {
    const { since_ms: sinceMs, limit, ...asked } = read(schema, params)
    const { item, storage, by, follow } = asked
    const entries = node.ledger({
      ...(item !== undefined && { item }),
      ...(storage !== undefined && { storage }),
      ...(by !== undefined && { by }),
      ...(sinceMs !== undefined && { sinceMs }),
      ...(limit !== undefined && { limit }),
      follow,
      signal,
    })
    for await (const entry of entries) await send(describeLedgerEntry(entry))
  }
}

/** In the names of the wire. */
export function describeLedgerEntry(entry: LedgerEntry): { readonly [field: string]: JsonValue } {
  const { type, timeMs } = entry
  const head = { type, time_ms: timeMs }
  if (entry.type === 'gap') return { ...head, reason: entry.reason, missing: entry.missing ?? null }
  const { storage, world, item, amount, by, operationId, withdrawalId, kind, group, outcome, code } = entry
  return {
    ...head,
    storage,
    world: world ?? null,
    item,
    amount: amount.toString(),
    by: by ?? null,
    operation_id: operationId ?? null,
    withdrawal_id: withdrawalId ?? null,
    kind: kind ?? null,
    group,
    outcome,
    code: code ?? null,
  }
}
