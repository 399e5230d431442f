import { serverOfReplica } from '../../sync/identity.js'
import type { Run } from '../run/run.js'
import { provisionalsOf } from '../withdrawals/provisionals.js'
import type { Checker } from './checker.js'

/**
 * A game server hears of each of its withdrawals that was compensated until it acknowledges that (W11): whoever
 * runs at the end, and whenever it started, has heard of all that are left. What it has acknowledged it must not
 * hear of again; src/simulation/run/application.ts minds that.
 */
export function compensationsTold(run: Run): Checker {
  return {
    invariants: ['W5', 'W10', 'W11'],
    atEnd() {
      for (const server of run.cluster.servers) {
        const { node } = server
        if (node === undefined) continue
        const told = run.withdrawals.told.get(`${server.number} ${server.generation}`)
        const listed = new Set(node.compensations().map(({ id }) => id))
        for (const { withdrawal } of provisionalsOf(node)) {
          const { id, replica, state } = withdrawal
          if (state !== 'compensated' || serverOfReplica(replica) !== server.name) continue
          if (!told?.has(id)) run.fail('W11', `${server.name} was not told of ${id}`, server.number)
          if (!listed.has(id)) run.fail('W11', `${server.name} does not list ${id}`, server.number)
        }
      }
    },
  }
}
