import { BURST_US } from '../../mover/budget.js'
import type { Run } from '../run/run.js'
import type { Checker } from './checker.js'

interface Point {
  readonly atUs: number
  readonly moved: bigint
}

/** Clocks of nodes run up to 1 % faster than that of the harness. */
const DRIFT = 1.02
/** Points kept of one owner: what lies further back says less. */
const MAX_POINTS = 64

/** No owner moves more of a transfer, in any time, than its rate and the burst that is allowed (T2). */
export function transferRates(run: Run): Checker {
  const series = new Map<string, Point[]>()
  return {
    invariants: ['T2'],
    observe() {
      if (run.transfers.rates.size === 0) return
      for (const { generation, name, node, number } of run.cluster.servers) {
        for (const { moved, transferId } of node?.transferProgress() ?? []) {
          const key = `${number} ${generation} ${transferId}`
          const points = series.get(key) ?? []
          // It was given up and taken anew.
          if ((points.at(-1)?.moved ?? 0n) > moved) points.length = 0
          const rate = run.transfers.rates.get(transferId) ?? 0
          for (const { atUs, moved: before } of points) {
            const most = (rate * ((run.nowUs - atUs) * DRIFT + BURST_US)) / 1_000_000 + 1
            if (Number(moved - before) <= most) continue
            const span = `${(run.nowUs - atUs) / 1_000} ms`
            run.fail('T2', `${name} moved ${moved - before} in ${span} at ${rate} items a second`, number)
          }
          points.push({ atUs: run.nowUs, moved })
          if (points.length > MAX_POINTS) points.shift()
          series.set(key, points)
        }
      }
    },
  }
}
