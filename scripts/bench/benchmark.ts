import type { Report } from './report.js'
import type { Workplace } from './workplace.js'

export interface BenchmarkContext {
  readonly report: Report
  readonly workplace: Workplace
  /** How long to measure. At least one round is always made, and a round begun is finished. */
  readonly seconds: number
}

export interface Benchmark {
  readonly description: string
  readonly defaultSeconds: number
  /** Resolves to the object that `--json` prints. Rejects when what was measured turned out wrong. */
  run(context: BenchmarkContext): Promise<Readonly<Record<string, number | null>>>
}
