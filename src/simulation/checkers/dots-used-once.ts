import type { Cell } from '../../crdt/cell.js'
import { compareCells } from '../../crdt/compare-cells.js'
import { Partition } from '../../crdt/partition.js'
import { override } from '../override.js'
import type { Run } from '../run/run.js'
import type { Checker } from './checker.js'

/** Cells remembered. */
const MAX_REMEMBERED = 200_000

/**
 * A replica never gives one number to two different writes (I2). Looks at each flush that is durable, for only
 * then may its numbers leave the server.
 */
export function dotsUsedOnce(run: Run): Checker {
  const used = new Map<string, Cell>()
  run.atCleanUp(
    override(Partition.prototype, 'completeFlush', (original) => {
      return function (this: Partition, flush) {
        for (const delta of flush.deltas) {
          for (const cell of delta.cells) {
            const dot = `${delta.partition}|${delta.replica}|${cell.number}`
            const before = used.get(dot)
            if (before !== undefined && compareCells(before, cell) !== 0) {
              run.fail('I2', `${delta.replica} used number ${cell.number} twice`, undefined)
            }
            if (used.size < MAX_REMEMBERED) used.set(dot, cell)
          }
        }
        original.call(this, flush)
      }
    }),
  )
  return { invariants: ['I2'] }
}
