import type { PartitionStatus } from '../../node/status.js'
import type { Run } from '../run/run.js'
import type { Checker } from './checker.js'

/** Servers that have seen the same writes hold the same state (S1); they say so themselves, too. */
export function equalVectors(run: Run): Checker {
  const observe = () => {
    const states = new Map<string, { checksum: number; server: number }>()
    for (const { server, status } of run.statuses()) {
      for (const partition of status.partitions) {
        if (!partition.settled) continue
        const key = vectorKey(partition)
        const other = states.get(key)
        if (other === undefined) states.set(key, { checksum: partition.checksum, server: server.number })
        else if (other.checksum !== partition.checksum) {
          run.fail(
            'S1',
            `s${other.server} and ${server.name} have equal vectors and unequal state in partition ` +
              `"${partition.partition}": ${key}`,
            server.number,
          )
        }
      }
    }
  }
  return { invariants: ['S1'], observe, atEnd: observe }
}

/** Equal for equal vectors of one partition. */
export function vectorKey({ partition, versionVector }: PartitionStatus): string {
  const rows = Object.entries(versionVector)
    .filter(([, number]) => number > 0)
    .map(([replica, number]) => `${replica}:${number}`)
  return `${partition}|${rows.sort().join(' ')}`
}
