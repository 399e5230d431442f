import * as v from 'valibot'
import { type AuditProgress, DEFAULT_AUDIT_TIMEOUT_MS } from '../node/mesh-auditor.js'
import type { MeshNode } from '../node/mesh-node.js'
import type { ControlMethods } from './control-methods.js'
import { describeAuditEntry, describeServerAudit } from './describe.js'
import { MAX_AUDIT_TIMEOUT_MS, nothing, read } from './params.js'

const mesh = v.strictObject({
  timeout_ms: v.optional(
    v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_AUDIT_TIMEOUT_MS)),
    DEFAULT_AUDIT_TIMEOUT_MS,
  ),
})

/** Of the looks that an audit takes at what has come, one in so many is told. */
const TICKS_A_LINE = 5

/** Audits, for the control socket: of the items of this server, and of the mesh. */
export function auditMethods(node: MeshNode): ControlMethods['streams'] {
  return {
    audit: async (params, send, signal) => {
      read(nothing, params)
      for await (const entry of node.audit({ signal })) await send(describeAuditEntry(entry))
    },
    audit_mesh: async (params, send, signal) => {
      const { timeout_ms: timeoutMs } = read(mesh, params)
      let ticks = 0
      const onProgress = ({ done, total }: AuditProgress) => {
        if (++ticks % TICKS_A_LINE !== 0) return
        // A reader that has gone ends the stream; nothing waits for it here.
        void send({ type: 'progress', done, total })
      }
      const { outcome, servers } = await node.auditMesh({ timeoutMs, signal, onProgress })
      for (const server of servers) await send({ type: 'server', ...(describeServerAudit(server) as object) })
      await send({ type: 'outcome', outcome })
    },
  }
}
