import { ANCHOR_PREFIX } from '../../registry/keys.js'
import type { Run } from '../run/run.js'
import { strongOf } from '../strong/access.js'
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
        for (const { id, acknowledged, mayBeDeleted, server: writer } of run.strong.anchors.values()) {
          if (!acknowledged || mayBeDeleted || strong.get(ANCHOR_PREFIX + id) !== undefined) continue
          run.fail(
            'RAFT-13',
            `${server.name} has lost anchor ${id}, acknowledged on s${writer}`,
            server.number,
          )
        }
      }
    },
  }
}
