import type { SeededRandom } from '../kernel/random.js'
import type { Fault, FaultKind } from './fault.js'

/** Expected number of faults of each kind per server and virtual minute. */
export type FaultRates = Readonly<Record<FaultKind, number>>

export const NO_FAULTS: FaultRates = {
  crash: 0,
  stop: 0,
  freeze: 0,
  lag: 0,
  partition: 0,
  break: 0,
  'slow-link': 0,
  'clock-jump': 0,
  'slow-disk': 0,
  'full-disk': 0,
  'disk-error': 0,
  'flip-bit': 0,
  restore: 0,
  wipe: 0,
}

const HIGHEST_RATES: FaultRates = {
  crash: 8,
  stop: 3,
  freeze: 6,
  lag: 3,
  partition: 6,
  break: 10,
  'slow-link': 5,
  'clock-jump': 3,
  'slow-disk': 4,
  'full-disk': 3,
  'disk-error': 2,
  'flip-bit': 0.6,
  restore: 1.5,
  wipe: 0.8,
}

/** More than this many in one run would only hide each other. */
const MAX_FAULTS = 400

/**
 * Each run has its own weather: most kinds are off, some rare, some frequent, so that over many seeds every
 * combination of two or three frequent ones comes up (tigerbeetle calls it swarm testing; Groce et al. 2012).
 */
export function drawFaultRates(random: SeededRandom): FaultRates {
  const rates = { ...NO_FAULTS } as Record<FaultKind, number>
  for (const kind of Object.keys(NO_FAULTS) as FaultKind[]) {
    const draw = random.fork(kind)
    const strength = draw.chance(0.5) ? 0 : draw.uniform()
    rates[kind] = HIGHEST_RATES[kind] * strength
  }
  return rates
}

/** The whole schedule of a run, before it begins. Sorted by time. */
export function drawFaults(
  random: SeededRandom,
  servers: number,
  durationMs: number,
  rates: FaultRates,
): Fault[] {
  const drawn: { atMs: number; make: (id: number) => Fault }[] = []
  for (const kind of Object.keys(rates) as FaultKind[]) {
    const draw = random.fork(kind)
    const expected = (rates[kind] * servers * durationMs) / 60_000
    const count = Math.floor(expected) + (draw.chance(expected % 1) ? 1 : 0)
    for (let number = 0; number < count; number++) {
      const atMs = draw.integer(0, durationMs)
      const one = draw.fork(number)
      drawn.push({ atMs, make: (id) => ({ id, atMs, ...drawFault(one, kind, servers) }) as Fault })
    }
  }
  drawn.sort((left, right) => left.atMs - right.atMs)
  const kept = drawn.length <= MAX_FAULTS ? drawn : random.shuffle(drawn).slice(0, MAX_FAULTS)
  kept.sort((left, right) => left.atMs - right.atMs)
  return kept.map(({ make }, id) => make(id))
}

type Without<T> = T extends unknown ? Omit<T, 'id' | 'atMs'> : never

function drawFault(random: SeededRandom, kind: FaultKind, servers: number): Without<Fault> {
  const server = random.integer(0, servers - 1)
  const forMs = 100 + random.delay(4_000, 40_000)
  switch (kind) {
    case 'crash':
      return { kind, server, power: random.chance(0.5), forMs }
    case 'lag':
      return { kind, server, stallMs: random.integer(20, 400), everyMs: random.integer(100, 1_000), forMs }
    case 'partition':
      return {
        kind,
        servers: drawSide(random, servers),
        direction: random.pick(['both', 'both', 'in', 'out'] as const),
        forMs,
      }
    case 'break':
      return {
        kind,
        ...drawPair(random, servers),
        how: random.pick(['reset', 'half-open', 'silent'] as const),
      }
    case 'slow-link':
      return { kind, ...drawPair(random, servers), factor: random.pick([10, 100, 1_000, 10_000]), forMs }
    case 'clock-jump':
      return { kind, server, byMs: random.pick([-1, 1]) * random.delay(2_000, 7_200_000) }
    case 'slow-disk':
      return { kind, server, factor: random.pick([3, 30, 300]), forMs }
    case 'disk-error':
      return { kind, server, writes: random.integer(1, 3) }
    case 'restore':
      return { kind, server, restoreAfterMs: random.integer(500, 20_000), forMs }
    default:
      return { kind, server, forMs }
  }
}

function drawSide(random: SeededRandom, servers: number): number[] {
  const size = random.integer(1, Math.max(1, Math.floor(servers / 2)))
  const numbers = Array.from({ length: servers }, (_, number) => number)
  return random
    .shuffle(numbers)
    .slice(0, size)
    .sort((left, right) => left - right)
}

function drawPair(random: SeededRandom, servers: number): { one: number; other: number } {
  const one = random.integer(0, servers - 1)
  const other = (one + random.integer(1, Math.max(1, servers - 1))) % servers
  return { one, other }
}
