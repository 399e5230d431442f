import type { MeshNode } from '../../node/mesh-node.js'
import type { RaftDisk } from '../../strong/raft-disk.js'
import type { StrongGroup } from '../../strong/strong-group.js'
import { coreOf } from '../core-of.js'

/** The strong store below a node's anchors, transfers and locks: only the simulator looks at it directly. */
export function strongOf(node: MeshNode): StrongGroup {
  return coreOf(node).strong
}

/** Which group a member's index or term belongs to. */
export function groupOf(strong: StrongGroup): string {
  const { options } = strong as unknown as { options: { disk: RaftDisk } }
  const { groupId, epoch } = options.disk.group
  return `${groupId}/${epoch}`
}
