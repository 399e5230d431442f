import * as v from 'valibot'
import type { MeshNode } from '../node/mesh-node.js'
import type { WithdrawalCase } from '../node/withdrawal.js'
import { NotFoundError } from '../sync/errors.js'
import type { ControlMethods, StreamMethod } from './control-methods.js'
import { describeCase } from './describe.js'
import { nothing, read } from './params.js'

const resolve = v.strictObject({ id: v.string(), decision: v.picklist(['keep', 'compensate']) })
const acknowledge = v.strictObject({ id: v.string() })

/** Conflicts and compensations of this server, for the control socket. What they change is durable when answered. */
export function withdrawalMethods(node: MeshNode): ControlMethods {
  return {
    calls: {
      conflict_resolve: async (params) => {
        const { id, decision } = read(resolve, params)
        if (!node.resolveConflict(id, decision)) throw unknown('conflict', id, node)
        await node.flush()
        return { id, decision }
      },
      compensation_acknowledge: async (params) => {
        const { id } = read(acknowledge, params)
        if (!node.acknowledgeCompensation(id)) throw unknown('compensation', id, node)
        await node.flush()
        return { id, acknowledged: true }
      },
    },
    streams: {
      conflicts: each(() => node.conflicts()),
      compensations: each(() => node.compensations()),
    },
  }
}

function each(cases: () => WithdrawalCase[]): StreamMethod {
  return async (params, send, signal) => {
    read(nothing, params)
    for (const withdrawal of cases()) {
      if (signal.aborted) return
      await send(describeCase(withdrawal))
    }
  }
}

/** Only the server that made a withdrawal can decide about it. */
function unknown(what: string, id: string, { identity }: MeshNode): NotFoundError {
  return new NotFoundError(
    `no open ${what} ${id} on ${identity.serverId}: ask the server that made the withdrawal, with \`silo-mesh ${what} list\``,
  )
}
