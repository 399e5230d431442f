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
            // Two halves of a split mesh may each take the last one; then fewer than none are visible as none.
            const visibleLeast = least > 0n ? least : 0n
            const visibleMost = most > 0n ? most : 0n
            if (found >= visibleLeast && found <= visibleMost) continue
            run.fail(
              'C1',
              `${server.name} holds ${found} ${item} in ${place.storage}; ` +
                `the acknowledged operations allow ${visibleLeast} to ${visibleMost}`,
              server.number,
            )
          }
        }
      }
    },
  }
}
