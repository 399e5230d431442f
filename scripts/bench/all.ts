import type { Benchmark } from './benchmark.js'
import { local } from './local.js'
import { propagation } from './propagation.js'
import { strong } from './strong.js'
import { sync } from './sync.js'
import { withdraw } from './withdraw.js'

/** By the name given on the command line. A new benchmark is a file of its own and a line here. */
export const BENCHMARKS: ReadonlyMap<string, Benchmark> = new Map([
  ['local', local],
  ['propagation', propagation],
  ['strong', strong],
  ['sync', sync],
  ['withdraw', withdraw],
])
