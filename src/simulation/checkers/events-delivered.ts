import type { Run } from '../run/run.js'
import type { Checker } from './checker.js'

/**
 * Every published event reaches every subscriber that lives on at least once (E1), and one that drops
 * repetitions by their id sees it exactly once; a node itself repeats none within one run (E2).
 */
export function eventsDelivered(run: Run): Checker {
  return {
    invariants: ['E1', 'E2'],
    atEnd() {
      for (const { eventId, origin, publishedUs, entry } of run.published) {
        if (!run.ledger.mustStand(entry)) continue
        for (const server of run.cluster.servers) {
          const heard = run.heard.get(`${server.number} ${server.generation}`)
          if (server.node === undefined || heard === undefined || heard.sinceUs > publishedUs) continue
          if (!heard.events.has(eventId)) {
            run.fail('E1', `${server.name} never heard event ${eventId} of s${origin}`, server.number)
          }
        }
      }
    },
  }
}
