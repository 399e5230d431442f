import { drawFaults, NO_FAULTS } from '../faults/draw-faults.js'
import { SeededRandom } from '../kernel/random.js'
import type { Mutant } from '../mutants/mutant.js'
import { drawRunOptions, type RunOptions } from './options.js'
import { type RunResult, simulate } from './simulate.js'
import { noWithdrawals, type WithdrawalCounts } from './withdrawal-book.js'

/** Sums over many runs. */
export interface CampaignTotals {
  seeds: number
  readonly failed: number[]
  /** Runs that ended early at a documented limit. */
  excused: number
  virtualMs: number
  events: number
  readonly withdrawals: WithdrawalCounts
}

export interface CampaignOptions {
  readonly workload: string
  /** Seeds to run, in order; may be without end. */
  readonly seeds: Iterable<number>
  /** Asked before each seed, so that a run in wall time can end. */
  readonly goOn: () => boolean
  readonly onResult?: (result: RunResult) => void | Promise<void>
}

/** Runs one seed after another. */
export async function campaign(options: CampaignOptions): Promise<CampaignTotals> {
  const totals: CampaignTotals = {
    seeds: 0,
    failed: [],
    excused: 0,
    virtualMs: 0,
    events: 0,
    withdrawals: noWithdrawals(),
  }
  for (const seed of options.seeds) {
    if (!options.goOn()) break
    const result = await simulate(drawRunOptions(seed, options.workload))
    totals.seeds++
    totals.virtualMs += result.virtualMs
    totals.events += result.events
    for (const [way, count] of Object.entries(result.withdrawals))
      totals.withdrawals[way as keyof WithdrawalCounts] += count
    if (result.excuse !== undefined) totals.excused++
    if (result.violation !== undefined) totals.failed.push(seed)
    await options.onResult?.(result)
  }
  return totals
}

/** How many seeds it took to catch a mutant, `undefined` when it survived all it was given. */
export async function seedsToCatch(mutant: Mutant): Promise<number | undefined> {
  for (let seed = 1; seed <= mutant.withinSeeds; seed++) {
    const { violation } = await simulate(optionsFor(mutant, seed), { mutant })
    if (violation === undefined) continue
    const { invariant, alsoInvariants = [] } = mutant
    if ([invariant, ...alsoInvariants].includes(violation.invariant)) return seed
  }
  return undefined
}

function optionsFor({ weather, workload = 'mixed' }: Mutant, seed: number): RunOptions {
  const options = drawRunOptions(seed, workload)
  if (weather === undefined) return options
  const random = new SeededRandom(seed).fork('weather of a mutant')
  const rates = { ...NO_FAULTS, ...weather }
  return { ...options, faults: drawFaults(random, options.names.length, options.safetyMs, rates) }
}
