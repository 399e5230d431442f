import type { MeshNode } from '../../node/mesh-node.js'
import type { Server } from '../cluster/server.js'
import type { Run } from '../run/run.js'

/** Nothing passes between these and those, either way, until what is returned is called. */
export function cutBetween(
  { cluster }: Run,
  these: readonly Server<MeshNode>[],
  those: readonly Server<MeshNode>[],
): () => void {
  const { conditions } = cluster.network
  const paths = these.flatMap(({ number: one }) =>
    those.flatMap(({ number: other }) => [[one, other] as const, [other, one] as const]),
  )
  for (const [from, to] of paths) conditions.cut(from, to)
  return () => {
    for (const [from, to] of paths) conditions.heal(from, to)
  }
}
