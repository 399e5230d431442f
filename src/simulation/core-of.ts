import type { MeshNode } from '../node/mesh-node.js'
import type { NodeCore } from '../node/node-core.js'

/** What a node hides from its user, for the eyes of checkers and the hands of mutants. */
export function coreOf(node: MeshNode): NodeCore {
  return (node as unknown as { core: NodeCore }).core
}
