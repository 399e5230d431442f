/**
 * Benchmarks beside the system that an owner of game servers would run instead, in the same run.
 *
 *   npm run bench -- local                    one of them, see the list below
 *   npm run bench -- sync --json              last stdout line is one JSON object
 *   npm run bench -- propagation --seconds 20 how long to go on measuring; setting up comes on top
 *
 * Exit code 0, 1 when a benchmark failed, 64 for wrong usage. A peer whose binary is not found is left out:
 * its fields are null.
 */
import { parseArgs } from 'node:util'
import { BENCHMARKS } from './bench/all.js'
import { Report } from './bench/report.js'
import { Workplace } from './bench/workplace.js'

const { name, json, seconds } = readArguments()
const benchmark = BENCHMARKS.get(name)
if (!benchmark) usage(name === '' ? 'name a benchmark' : `unknown benchmark ${name}`)

const report = new Report(json)
const workplace = await Workplace.create()
try {
  const result = await benchmark.run({ report, workplace, seconds: seconds ?? benchmark.defaultSeconds })
  if (json) console.log(JSON.stringify(result))
} catch (error) {
  console.error(error)
  process.exitCode = 1
} finally {
  await workplace.close()
}

function readArguments(): { name: string; json: boolean; seconds: number | undefined } {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { json: { type: 'boolean', default: false }, seconds: { type: 'string' } },
    })
    if (positionals.length > 1) usage('one benchmark at a time: they would disturb each other')
    const limit = values.seconds === undefined ? undefined : Number(values.seconds)
    if (limit !== undefined && !(limit > 0 && limit <= 3600)) usage('--seconds: a number up to 3600')
    return { name: positionals[0] ?? '', json: values.json, seconds: limit }
  } catch (error) {
    return usage((error as Error).message)
  }
}

function usage(problem: string): never {
  const known = [...BENCHMARKS].map(([key, { description }]) => `  ${key.padEnd(12)} ${description}`)
  console.error(`${problem}\nusage: npm run bench -- <benchmark> [--json] [--seconds N]\n${known.join('\n')}`)
  process.exit(64)
}
