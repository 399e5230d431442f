import { ANCHOR_PREFIX, TRANSFER_PREFIX } from '../../registry/keys.js'
import type { Run } from '../run/run.js'
import { strongOf } from '../strong/access.js'
import type { CreatedEntity, CreatedTransfer } from '../strong/history.js'
import type { Checker } from './checker.js'

/** What the strong group has acknowledged is there at the end, on every server (RAFT-13, leader completeness). */
export function strongWritesKept(run: Run): Checker {
  return {
    invariants: ['RAFT-13'],
    atEnd() {
      for (const server of run.cluster.servers) {
        if (server.node === undefined) continue
        const strong = strongOf(server.node)
        for (const { key, value, server: writer } of run.strong.acknowledged) {
          const found = strong.get(key)
          if (found !== undefined && new TextDecoder().decode(found.value) === value) continue
          run.fail('RAFT-13', `${server.name} has lost ${key}, acknowledged on s${writer}`, server.number)
        }
        for (const { id, what, key, writer } of entitiesThatStay(run)) {
          if (strong.get(key) !== undefined) continue
          run.fail(
            'RAFT-13',
            `${server.name} has lost ${what} ${id}, acknowledged on s${writer}`,
            server.number,
          )
        }
      }
    },
  }
}

/** Acknowledged, and nobody has asked for anything that would take it away. */
function entitiesThatStay(run: Run): { id: string; what: string; key: string; writer: number }[] {
  const { anchors, transfers } = run.strong
  const stays = ({ acknowledged, mayBeDeleted }: CreatedEntity) => acknowledged && !mayBeDeleted
  const hasBothEnds = ({ from, to }: CreatedTransfer) =>
    [from, to].every((end) => anchors.get(end)?.mayBeDeleted === false)
  return [
    ...[...anchors.values()]
      .filter(stays)
      .map(({ id, server }) => ({ id, what: 'anchor', key: ANCHOR_PREFIX + id, writer: server })),
    ...[...transfers.values()]
      .filter((transfer) => stays(transfer) && hasBothEnds(transfer))
      .map(({ id, server }) => ({ id, what: 'transfer', key: TRANSFER_PREFIX + id, writer: server })),
  ]
}
