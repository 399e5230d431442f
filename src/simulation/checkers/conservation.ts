import type { MeshNode } from '../../node/mesh-node.js'
import { keyOf } from '../run/ledger.js'
import type { Run } from '../run/run.js'
import type { Checker } from './checker.js'

/**
 * Nothing is duplicated and nothing acknowledged is lost (C1): the final quantity of each item lies between
 * what the acknowledgements demand and what the operations allow.
 */
export function conservation(run: Run): Checker {
  return {
    invariants: ['C1'],
    atEnd() {
      const bounds = run.ledger.bounds()
      const items = new Map(run.places.map(({ storage }) => [storage, new Set<string>()]))
      for (const { storage, item } of run.ledger.entries) items.get(storage)?.add(item)
      for (const server of run.cluster.servers) {
        const { node } = server
        if (node === undefined) continue
        for (const place of run.places) {
          if (!run.hosts(server.number, place)) continue
          for (const item of items.get(place.storage) ?? []) {
            const { least, most } = bounds.get(keyOf(place.storage, item)) ?? { least: 0n, most: 0n }
            const found = run.storage(node, place).quantity(item)
            if (found >= least && found <= most) continue
            run.fail(
              'C1',
              `${server.name} holds ${found} ${item} in ${place.storage}; ` +
                `the acknowledged operations allow ${least} to ${most}`,
              server.number,
            )
          }
        }
        checkMoves(run, server.number, node, items)
      }
    },
  }
}

/** Between storages nothing is lost or doubled on the way (W14): half a move would show in their sum. */
function checkMoves(
  run: Run,
  server: number,
  node: MeshNode,
  items: ReadonlyMap<string, ReadonlySet<string>>,
): void {
  const shared = run.places.filter(({ world }) => world === undefined)
  const isShared = new Set(shared.map(({ storage }) => storage))
  const sums = run.ledger.boundsAcross((storage) => (isShared.has(storage) ? 'shared' : storage))
  for (const item of new Set(shared.flatMap(({ storage }) => [...(items.get(storage) ?? [])]))) {
    const { least, most } = sums.get(keyOf('shared', item)) ?? { least: 0n, most: 0n }
    let found = 0n
    for (const place of shared) found += run.storage(node, place).quantity(item)
    if (found >= least && found <= most) continue
    const allowed = `the operations other than moves allow ${least} to ${most}`
    run.fail('W14', `there are ${found} ${item} in all shared storages together; ${allowed}`, server)
  }
}
