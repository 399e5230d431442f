import { RaftTransport } from '../../strong/raft-transport.js'
import type { Run } from '../run/run.js'
import type { Checker } from './checker.js'

/** Only a leader sends these. */
const FROM_LEADER = new Set(['append', 'heartbeat', 'snapshot', 'timeout-now'])

/** At most one member acts as leader in a term (RAFT-10, election safety). */
export function oneLeaderPerTerm(run: Run): Checker {
  const leaders = new Map<string, string>()
  run.override(RaftTransport.prototype, 'send', (original) => {
    return function (this: RaftTransport, group, message) {
      if (FROM_LEADER.has(message.type)) {
        const term = `${group.groupId}/${group.epoch} term ${message.term}`
        const leader = leaders.get(term) ?? message.from
        leaders.set(term, leader)
        if (leader !== message.from) {
          run.fail('RAFT-10', `${leader} and ${message.from} both lead in ${term}`, undefined)
        }
      }
      return original.call(this, group, message)
    }
  })
  return { invariants: ['RAFT-10'] }
}
