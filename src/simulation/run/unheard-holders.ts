import type { MeshNode } from '../../node/mesh-node.js'
import { coreOf } from '../core-of.js'

/**
 * Whether a server holds its numbering for the sake of a server outside of `group`, as it must. It was put back to a
 * copy taken while its numbering was held, so it has writes of a former incarnation without a number.
 *
 * That no server of the group can end this: let z be outside, known to the server, and out of reach. In one history
 * the former incarnation numbered these writes after the copy was taken, told z alone, and z went away: to number
 * them again counts them twice. In another one it crashed before it numbered them: never to number them loses what
 * was acknowledged as durable. Both break C1. What the servers of the group have seen, and will ever exchange, is the
 * same in both histories, so none of them can tell which one it lives in. Own writes are numbered in their order
 * (decision 2), so later ones wait behind these.
 *
 * A healed mesh has nobody outside: there this explains nothing.
 */
export function waitsForUnheard(node: MeshNode, group: ReadonlySet<string>): boolean {
  const core = coreOf(node)
  for (const { name } of core.durables.committer.formerPartitions()) {
    if (core.view.knownServers(name).some((server) => !group.has(server))) return true
  }
  return false
}
