import { ANCHOR_PREFIX } from '../../registry/keys.js'
import type { Run } from '../run/run.js'
import { strongOf } from '../strong/access.js'
import type { Checker } from './checker.js'

interface Subscriber {
  readonly sinceUs: number
  /** Anchor id → whether it exists, by the events alone. */
  readonly exists: Map<string, boolean>
}

/**
 * Whoever follows the events of a server knows in the end which anchors there are (E3): each one that came since is
 * told of, and none that went is left standing. Versions in between may be skipped after a cut.
 */
export function strongEvents(run: Run): Checker {
  const subscribers = new Map<string, Subscriber>()
  run.onRunning((server, node) => {
    const exists = new Map<string, boolean>()
    subscribers.set(`${server.number} ${server.generation}`, { sinceUs: run.nowUs, exists })
    node.on('event', ({ type, entityId }) => {
      if (type === 'ANCHOR_CREATED') exists.set(entityId, true)
      else if (type === 'ANCHOR_DELETED') exists.set(entityId, false)
    })
  })
  return {
    invariants: ['E3'],
    atEnd() {
      for (const server of run.cluster.servers) {
        const subscriber = subscribers.get(`${server.number} ${server.generation}`)
        if (server.node === undefined || subscriber === undefined) continue
        const strong = strongOf(server.node)
        for (const { id, calledUs } of run.strong.anchors.values()) {
          const told = subscriber.exists.get(id)
          const isThere = strong.get(ANCHOR_PREFIX + id) !== undefined
          const mustBeTold = told !== undefined || calledUs > subscriber.sinceUs
          if (!mustBeTold || (told ?? false) === isThere) continue
          const said = told === undefined ? 'nothing' : told ? 'that it came' : 'that it went'
          run.fail(
            'E3',
            `${server.name} told ${said} of anchor ${id}; it ${isThere ? 'is' : 'is not'} there`,
            server.number,
          )
        }
      }
    },
  }
}
