import type { Run } from '../run/run.js'
import type { Checker } from './checker.js'

/** While a process lives, no number of its vectors goes back (V1). */
export function vectorsAdvance(run: Run): Checker {
  const seen = new Map<string, number>()
  return {
    invariants: ['V1'],
    observe() {
      for (const { server, status } of run.statuses()) {
        for (const { partition, versionVector } of status.partitions) {
          for (const [replica, number] of Object.entries(versionVector)) {
            const key = `${server.number} ${server.generation} ${partition} ${replica}`
            const before = seen.get(key) ?? 0
            if (number < before) {
              run.fail(
                'V1',
                `${server.name} went back from ${before} to ${number} of ${replica}`,
                server.number,
              )
            }
            seen.set(key, number)
          }
        }
      }
    },
  }
}
