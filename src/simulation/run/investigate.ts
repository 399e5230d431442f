import { describeFault, type Fault } from '../faults/fault.js'
import type { Mutant } from '../mutants/mutant.js'
import { renderPage } from '../page/render-page.js'
import { shrink } from '../shrink.js'
import { type RunResult, simulate } from './simulate.js'

/** Runs spent on finding a shorter list of faults. */
const MAX_TRIES = 150

export interface Investigation {
  /** The shortest list found that still breaks the same promise. */
  readonly faults: readonly Fault[]
  readonly tries: number
  /** The run with those faults only, recorded. */
  readonly result: RunResult
}

/** Finds the fewest faults that still break the same promise, as long as `goOn`, and records that run. */
export async function investigate(
  failed: RunResult,
  { mutant, goOn }: { readonly mutant?: Mutant; readonly goOn?: () => boolean } = {},
): Promise<Investigation> {
  const { options, violation } = failed
  const again = (faults: readonly Fault[], record: boolean) =>
    simulate({ ...options, faults }, { record, mutant })
  const { kept, tries } = await shrink(
    options.faults,
    async (faults) => (await again(faults, false)).violation?.invariant === violation?.invariant,
    MAX_TRIES,
    goOn,
  )
  return { faults: kept, tries, result: await again(kept, true) }
}

/** The page of a recorded run. */
export function pageOf(result: RunResult): string {
  const { options, violation, traceHash, trace } = result
  if (trace === undefined) throw new TypeError('the run was not recorded')
  // The run itself counts from the start of the safety phase, which is the start of everything.
  const faults = options.faults.map((fault) => ({
    atUs: fault.atMs * 1000,
    text: describeFault(fault).trim(),
  }))
  return renderPage({
    title: `silo-mesh simulation, seed ${options.seed}`,
    seed: String(options.seed),
    traceHash,
    servers: options.names.map((name, number) => `${name} (${options.durability[number]})`),
    facts: {
      seed: String(options.seed),
      workload: options.workload,
      'trace hash': traceHash,
      servers: String(options.names.length),
      operations: String(result.operations),
      'kernel events': String(result.events),
      'virtual time': `${(result.virtualMs / 1000).toFixed(1)} s`,
      core: options.core.map((number) => options.names[number]).join(' '),
    },
    faults,
    violation,
    endUs: result.virtualMs * 1000,
    trace,
  })
}
