/**
 * The simulator's command line.
 *
 *   npm run sim -- --seeds 300 --json          seeds 1 to 300
 *   npm run sim -- --seed 42 --html run.html   one seed, with its space-time diagram
 *   npm run sim -- --random --seconds 60       fresh seeds for a minute
 *   npm run sim -- --mutants                   the deliberately broken variants: each must be caught
 *
 * Exit code 0 when nothing failed and no mutant survived, 1 otherwise, 64 for wrong usage.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { describeFault, faultToJson } from '../src/simulation/faults/fault.js'
import { MUTANTS } from '../src/simulation/mutants/all.js'
import { campaign, seedsToCatch } from '../src/simulation/run/campaign.js'
import { investigate, pageOf } from '../src/simulation/run/investigate.js'
import { drawRunOptions } from '../src/simulation/run/options.js'
import { type RunResult, simulate } from '../src/simulation/run/simulate.js'
import type { Violation } from '../src/simulation/run/violation.js'
import { WORKLOADS } from '../src/simulation/workloads/all.js'

const DEFAULT_SEEDS = 50
/** Failures explained in full; later ones are only counted. */
const MAX_EXPLAINED = 3
/** Time for finding the fewest faults of one failure. */
const EXPLAIN_MS = 20_000

const { values } = parse()
const json = values.json ?? false
const workload = values.workload ?? 'mixed'
if (!WORKLOADS.has(workload))
  usage(`unknown workload ${workload}; known: ${[...WORKLOADS.keys()].join(', ')}`)

if (values.mutants) await runMutants()
else if (values.seed !== undefined) await runOne(wholeNumber('seed', values.seed))
else await runMany()

async function runMany(): Promise<void> {
  const startedMs = performance.now()
  const limitMs = values.seconds === undefined ? Infinity : wholeNumber('seconds', values.seconds) * 1000
  const count =
    values.seeds === undefined
      ? limitMs === Infinity
        ? DEFAULT_SEEDS
        : Infinity
      : wholeNumber('seeds', values.seeds)
  const explained: RunResult[] = []
  const totals = await campaign({
    workload,
    seeds: seedsOf(count),
    goOn: () => performance.now() - startedMs < limitMs,
    onResult: (result) => {
      if (result.violation === undefined) return
      // At once, and beside the data: explaining takes its time.
      console.error(`seed ${result.options.seed} breaks ${describe(result.violation)}`)
      if (explained.length < MAX_EXPLAINED) explained.push(result)
    },
  })
  const seconds = (performance.now() - startedMs) / 1000
  for (const result of explained) await explain(result, `sim-failure-${result.options.seed}.html`)
  const summary = {
    seeds: totals.seeds,
    failed: totals.failed,
    excused: totals.excused,
    ...totals.withdrawals,
    virtual_seconds: Math.round(totals.virtualMs / 1000),
    events: totals.events,
    events_per_second: Math.round(totals.events / seconds),
    seconds: Math.round(seconds * 10) / 10,
  }
  if (json) console.log(JSON.stringify(summary))
  else {
    say(
      `${summary.seeds} seeds, ${summary.failed.length} failed; ${summary.virtual_seconds} s of virtual time, ` +
        `${summary.events} events in ${summary.seconds} s (${summary.events_per_second} a second)`,
    )
  }
  process.exitCode = totals.failed.length === 0 ? 0 : 1
}

async function runOne(seed: number): Promise<void> {
  const startedMs = performance.now()
  const result = await simulate(drawRunOptions(seed, workload), { record: values.html !== undefined })
  const seconds = (performance.now() - startedMs) / 1000
  const { violation, options } = result
  if (violation !== undefined) await explain(result, values.html ?? `sim-failure-${seed}.html`)
  else if (values.html !== undefined) {
    writeFileSync(values.html, pageOf(result))
    say(`wrote ${values.html}`)
  }
  const summary = {
    seed,
    workload,
    trace_hash: result.traceHash,
    violation: violation === undefined ? null : { invariant: violation.invariant, detail: violation.detail },
    servers: options.names.length,
    faults: options.faults.length,
    operations: result.operations,
    ...result.withdrawals,
    virtual_seconds: Math.round(result.virtualMs) / 1000,
    events: result.events,
    events_per_second: Math.round(result.events / seconds),
    seconds: Math.round(seconds * 10) / 10,
  }
  say(json ? JSON.stringify(summary) : JSON.stringify(summary, undefined, 2), true)
  process.exitCode = violation === undefined ? 0 : 1
}

/** Tells why a seed fails: the promise, the fewest faults, and a page with the picture. */
async function explain(failed: RunResult, file: string): Promise<void> {
  const untilMs = performance.now() + EXPLAIN_MS
  const { faults, tries, result } = await investigate(failed, { goOn: () => performance.now() < untilMs })
  const shown = result.violation ?? failed.violation
  writeFileSync(file, pageOf(result))
  if (json) {
    const { seed } = failed.options
    const told = {
      seed,
      invariant: shown?.invariant,
      detail: shown?.detail,
      faults: faults.map(faultToJson),
      html: file,
    }
    console.log(JSON.stringify(told))
    return
  }
  say(`\nseed ${failed.options.seed} breaks ${shown && describe(shown)}`)
  say(
    `fewest faults found that still break it (${faults.length} of ${failed.options.faults.length}, ${tries} tries):`,
  )
  for (const fault of faults) say(`  ${describeFault(fault)}`)
  say(`space-time diagram: ${file}`)
}

function describe({ invariant, detail }: Violation): string {
  return `${invariant}: ${detail}`
}

async function runMutants(): Promise<void> {
  const caught: { name: string; invariant: string; seeds: number }[] = []
  const survived: string[] = []
  for (const mutant of MUTANTS) {
    const seeds = await seedsToCatch(mutant)
    if (seeds === undefined) survived.push(mutant.name)
    else caught.push({ name: mutant.name, invariant: mutant.invariant, seeds })
    // Beside the data, so that a run that is cut short has told how far it came.
    console.error(
      `${mutant.name}: ${seeds === undefined ? `SURVIVED ${mutant.withinSeeds} seeds` : `caught by ${mutant.invariant} within ${seeds} seeds`}`,
    )
  }
  if (json) console.log(JSON.stringify({ mutants: caught, survived }))
  process.exitCode = survived.length === 0 ? 0 : 1
}

function* seedsOf(count: number): Generator<number> {
  for (let number = 1; number <= count; number++) {
    yield values.random ? Math.floor(Math.random() * 2 ** 47) : number
  }
}

function say(line: string, always = false): void {
  if (always || !json) console.log(line)
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0) usage(`--${name} takes a whole number, got ${text}`)
  return value
}

function usage(problem: string): never {
  console.error(
    `${problem}\nusage: sim [--seeds N] [--random] [--seconds N] [--seed S [--html FILE]] [--mutants] [--workload NAME] [--json]`,
  )
  process.exit(64)
}

function parse() {
  try {
    return parseArgs({
      options: {
        seeds: { type: 'string' },
        seed: { type: 'string' },
        seconds: { type: 'string' },
        random: { type: 'boolean' },
        json: { type: 'boolean' },
        html: { type: 'string' },
        mutants: { type: 'boolean' },
        workload: { type: 'string' },
      },
    })
  } catch (error) {
    return usage((error as Error).message)
  }
}
