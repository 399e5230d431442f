import type { RaftConfigOptions } from '../../node/config.js'
import type { DiskProfile } from '../disk/store.js'
import { drawFaultRates, drawFaults, type FaultRates, NO_FAULTS } from '../faults/draw-faults.js'
import type { Fault, FaultKind } from '../faults/fault.js'
import { SeededRandom } from '../kernel/random.js'
import type { NetworkProfile } from '../network/conditions.js'
import type { ResolverChoice } from './resolvers.js'

export type DurabilityChoice = 'sync' | 'group' | 'memory'

/** A storage, in the shared partition or in that of a world. */
export interface Place {
  readonly storage: string
  readonly world: string | undefined
}

/** Options of the nodes themselves. */
export interface NodeTimings {
  readonly syncIntervalMs: number
  readonly checksumIntervalMs: number
  readonly rejoinGraceMs: number
  readonly compression: boolean
  /** The strong group; left out: the defaults. */
  readonly raft?: RaftConfigOptions
}

/** Everything about a run. Drawn from its seed, so that the seed is all that must be remembered. */
export interface RunOptions {
  readonly seed: number
  readonly workload: string
  readonly names: readonly string[]
  readonly durability: readonly DurabilityChoice[]
  /** Servers each one dials: indices into `names`. */
  readonly peers: readonly (readonly number[])[]
  /** The servers start within this time, so that some join a mesh that runs already. */
  readonly startSpreadMs: number
  readonly safetyMs: number
  /** Virtual time within which a healed core must have converged. */
  readonly livenessMs: number
  /** Servers healed in the liveness phase. The others stay as they are. */
  readonly core: readonly number[]
  readonly operationsPerSecond: number
  readonly places: readonly Place[]
  /** Worlds that each server hosts. */
  readonly worlds: readonly (readonly string[])[]
  readonly items: number
  /** Share of operations that deposit; the others withdraw. */
  readonly depositShare: number
  readonly network: NetworkProfile
  readonly disk: DiskProfile
  readonly node: NodeTimings
  /** Journal bytes after which a node takes a snapshot; far fewer than in production. */
  readonly snapshotEveryBytes: number
  /** Share of operations that are a batch of deposits on many items. */
  readonly batchShare: number
  readonly batchItems: number
  readonly maxClockDrift: number
  readonly maxWallOffsetMs: number
  readonly faults: readonly Fault[]
  /** How each server decides conflicts; they need not agree. */
  readonly resolvers: readonly ResolverChoice[]
  /** Servers that keep a ledger of what is done on them. */
  readonly ledgers: readonly boolean[]
  /** Share of runs in which nothing is withdrawn but what is backed. */
  readonly backedOnly: boolean
  /** The server that founds the strong group; undefined: there is none. */
  readonly founder?: number
}

/** Most servers of one run; the overlay above 16 is exercised too, but rarely, since it costs. */
const MAX_SERVERS = 20

/** Workloads in which members of the strong group are hunted, and the number of servers, which all vote. */
const HUNTS: ReadonlyMap<string, number> = new Map([
  ['leader-hunt', 3],
  ['term-hunt', 3],
  ['membership-hunt', 5],
  ['lost-disk-hunt', 3],
])

/** Under a flood of writes only links that stall are of interest: everything else would break them too soon. */
const FLOOD_WEATHER = { ...NO_FAULTS, partition: 4, 'slow-link': 24 }

export function drawRunOptions(seed: number, workload: string): RunOptions {
  const random = new SeededRandom(seed).fork('options')
  const flood = workload === 'flood'
  const servers = flood ? 3 : (HUNTS.get(workload) ?? drawServerCount(random.fork('servers')))
  const times = random.fork('times')
  const safetyMs = flood ? 10_000 : times.integer(5_000, 30_000)
  const load = random.fork('load')
  const faultless = random.fork('weather').chance(0.04)
  const options: RunOptions = {
    seed,
    workload,
    names: Array.from({ length: servers }, (_, number) => `s${number}`),
    durability: drawDurability(random.fork('durability'), servers),
    peers: drawPeers(random.fork('peers'), servers),
    startSpreadMs: times.chance(0.5) ? 0 : times.integer(0, Math.floor(safetyMs / 2)),
    safetyMs,
    livenessMs: 60_000,
    core: drawCore(random.fork('core'), servers),
    operationsPerSecond: flood ? 15 : load.pick([2, 10, 40]),
    ...drawPlaces(random.fork('worlds'), servers),
    items: load.pick([1, 2, 5, 40]),
    depositShare: load.pick([0.9, 0.6, 0.5]),
    network: { ...drawNetwork(random.fork('network')), ...(flood && { bandwidthBytesPerUs: 1 }) },
    disk: drawDisk(random.fork('disk')),
    node: drawTimings(random.fork('node')),
    snapshotEveryBytes: random.fork('snapshots').pick([2_000, 20_000, 1_000_000]),
    batchItems: flood ? 1_000 : 300,
    batchShare: flood ? 1 : random.fork('batches').pick([0, 0, 0, 0.01]),
    resolvers: drawResolvers(random.fork('resolvers'), servers),
    ledgers: [],
    backedOnly: random.fork('backed-only').chance(0.2),
    maxClockDrift: random.fork('drift').pick([0, 0.000_1, 0.01]),
    maxWallOffsetMs: random.fork('wall').pick([0, 100, 600_000]),
    faults: faultless
      ? []
      : drawFaults(
          random.fork('faults'),
          servers,
          safetyMs,
          flood ? FLOOD_WEATHER : weatherOf(workload, drawFaultRates(random.fork('rates'))),
        ),
  }
  if (workload === 'withdrawals') return forWithdrawals(options, random.fork('withdrawals'))
  if (workload === 'partial-view-hunt') return forPartialViewHunt(options, random.fork('withdrawals'))
  if (workload === 'grant-hunt') return forGrantHunt(options, random.fork('withdrawals'))
  const kept = KEEPING_WORKLOADS.has(workload) ? withoutForgetting(options) : options
  return STRONG_WORKLOADS.has(workload) ? forStrong(kept, random.fork('strong')) : kept
}

/** Withdrawals meet each other where servers are cut off from each other. */
function weatherOf(workload: string, rates: FaultRates): FaultRates {
  return workload === 'withdrawals' ? { ...rates, partition: Math.max(rates.partition, 4) } : rates
}

/** Few items that many want, and two storages between which they are moved. */
function forWithdrawals(options: RunOptions, random: SeededRandom): RunOptions {
  const places = options.places.some(({ storage }) => storage === 'bank')
    ? options.places
    : [...options.places, { storage: 'bank', world: undefined }]
  return {
    ...options,
    places,
    items: random.pick([1, 1, 2, 3]),
    operationsPerSecond: random.pick([5, 10, 20]),
    depositShare: random.pick([0.2, 0.35, 0.5]),
    batchShare: 0,
    ledgers: drawLedgers(random.fork('ledgers'), options.durability),
  }
}

/** One without a disk keeps its lines in memory: nothing there outlives a crash. */
function drawLedgers(random: SeededRandom, durability: readonly DurabilityChoice[]): boolean[] {
  return durability.map((choice) => random.chance(0.5) && choice !== 'memory')
}

/** Disks that keep what they had, yet take long for it, and messages that are faster than they are. */
function forGrantHunt(options: RunOptions, random: SeededRandom): RunOptions {
  const { disk, network, ...drawn } = forWithdrawals(withoutForgetting(options), random)
  const syncUs = random.pick([20_000, 100_000])
  return {
    ...drawn,
    disk: { ...disk, syncUs, maxSyncUs: 10 * syncUs },
    network: { ...network, minLatencyUs: 500, maxLatencyUs: 2_000 },
  }
}

/** Few links are cut but by the hunt itself, and messages are fast: who spends has seen more than who looks on. */
function forPartialViewHunt(options: RunOptions, random: SeededRandom): RunOptions {
  const { disk, network, ...drawn } = forWithdrawals(options, random)
  return {
    ...drawn,
    operationsPerSecond: 2,
    backedOnly: false,
    durability: options.durability.map(() => 'group'),
    disk: { ...disk, syncUs: 200, maxSyncUs: 10_000 },
    network: { ...network, minLatencyUs: 500, maxLatencyUs: 2_500, maxJitterUs: 5_000 },
  }
}

/** Workloads that need a strong group. */
const STRONG_WORKLOADS: ReadonlySet<string> = new Set(['strong', ...HUNTS.keys(), 'transfers'])
/** Workloads whose promises end with what a disk has forgotten. */
const KEEPING_WORKLOADS: ReadonlySet<string> = new Set(['transfers', 'reads'])

/** Faults that take acknowledged entries off a disk at any moment: with a majority of voters the group would be gone. */
const FORGETTING: ReadonlySet<FaultKind> = new Set(['wipe', 'flip-bit'])

/** Rights that died with a disk would stay where they are; what was acknowledged and is gone, no read finds. */
function withoutForgetting(options: RunOptions): RunOptions {
  const faults = options.faults.filter(({ kind }) => kind !== 'restore' && !FORGETTING.has(kind))
  return { ...options, durability: options.durability.map(() => 'group'), faults }
}

/** All are voters early, short elections and slow messages: many terms, and candidates that meet. */
function forHunt(options: RunOptions, random: SeededRandom): RunOptions {
  const raft = {
    heartbeatMs: 50,
    electionMs: random.pick([200, 400]),
    maxVoters: HUNTS.get(options.workload)!,
    voterGraceMs: random.pick([500, 30_000]),
  }
  const minLatencyUs = random.pick([500, 10_000, 30_000])
  const isTermHunt = options.workload === 'term-hunt'
  const isDiskHunt = options.workload === 'lost-disk-hunt'
  return {
    ...options,
    durability: options.durability.map(() => 'group'),
    peers: options.names.map((_, server) =>
      options.names.map((_, other) => other).filter((other) => other !== server),
    ),
    startSpreadMs: 0,
    safetyMs: isTermHunt || isDiskHunt ? 30_000 : 20_000,
    // Few, so that followers keep up with entries that come one by one.
    operationsPerSecond: isTermHunt ? 6 : 20,
    network: { ...options.network, minLatencyUs, maxLatencyUs: 2 * minLatencyUs, maxJitterUs: 100_000 },
    disk: { ...options.disk, syncUs: random.pick([2_000, 60_000]), maxSyncUs: 300_000 },
    snapshotEveryBytes: 1_000_000,
    batchShare: 0,
    node: { ...options.node, ...(isDiskHunt && { rejoinGraceMs: 500 }), raft },
  }
}

/** Server 0 founds the group, on a disk; disks forget only while the group outlives it (`GroupSurvival`). */
function forStrong(options: RunOptions, random: SeededRandom): RunOptions {
  // A read takes two round trips within twice the election time, as in production.
  const isFar = options.network.maxLatencyUs > 20_000
  const heartbeatMs = isFar ? 150 : random.pick([50, 150, 150])
  const durability = options.durability.map((choice, server) =>
    server === 0 && choice === 'memory' ? 'group' : choice,
  )
  const raft = {
    heartbeatMs,
    electionMs: heartbeatMs * (isFar ? 20 : random.pick([4, 7, 20])),
    maxVoters: random.pick([3, 5]),
    voterGraceMs: random.pick([1_000, 5_000, 30_000]),
  }
  const faults = options.faults.filter(({ kind }) => !FORGETTING.has(kind))
  if (HUNTS.has(options.workload)) return forHunt({ ...options, founder: 0, durability, faults: [] }, random)
  return { ...options, founder: 0, durability, faults, node: { ...options.node, raft } }
}

function drawServerCount(random: SeededRandom): number {
  const draw = random.uniform()
  if (draw < 0.9) return random.integer(2, 6)
  return draw < 0.98 ? random.integer(7, 10) : random.integer(11, MAX_SERVERS)
}

function drawDurability(random: SeededRandom, servers: number): DurabilityChoice[] {
  const memoryShare = random.pick([0, 0, 0.3])
  return Array.from({ length: servers }, () =>
    random.chance(memoryShare) ? 'memory' : random.pick(['group', 'sync'] as const),
  )
}

/** All know all, all know the first two, or each knows the one before it. */
function drawPeers(random: SeededRandom, servers: number): number[][] {
  const shape = random.pick(['all', 'all', 'first', 'chain'] as const)
  return Array.from({ length: servers }, (_, number) => {
    const others = Array.from({ length: servers }, (_, other) => other).filter((other) => other !== number)
    if (shape === 'all') return others
    if (shape === 'first') return others.filter((other) => other < 2)
    return others.filter((other) => other === (number + servers - 1) % servers)
  })
}

/** Mostly the default everywhere; sometimes another one, sometimes each its own. */
function drawResolvers(random: SeededRandom, servers: number): ResolverChoice[] {
  const all = random.pick(['lower-id', 'lower-id', 'lower-id', 'earlier-time', 'manual', 'each'] as const)
  return Array.from({ length: servers }, () =>
    all === 'each' ? random.pick(['lower-id', 'earlier-time', 'manual', 'throws', 'selfish'] as const) : all,
  )
}

/** A majority or more, sometimes everyone. */
function drawCore(random: SeededRandom, servers: number): number[] {
  const size = random.integer(Math.min(servers, Math.floor(servers / 2) + 1), servers)
  const numbers = Array.from({ length: servers }, (_, number) => number)
  return random
    .shuffle(numbers)
    .slice(0, size)
    .sort((left, right) => left - right)
}

/** One or two shared storages; sometimes a world that only some servers host. */
function drawPlaces(random: SeededRandom, servers: number): Pick<RunOptions, 'places' | 'worlds'> {
  const places: Place[] = [{ storage: 'vault', world: undefined }]
  if (random.chance(0.4)) places.push({ storage: 'bank', world: undefined })
  if (!random.chance(0.3)) return { places, worlds: Array.from({ length: servers }, () => []) }
  places.push({ storage: 'mine', world: 'nether' })
  const worlds = Array.from({ length: servers }, () => (random.chance(0.6) ? ['nether'] : []))
  return { places, worlds }
}

function drawTimings(random: SeededRandom): NodeTimings {
  return {
    syncIntervalMs: random.pick([200, 1_000, 1_000]),
    checksumIntervalMs: random.pick([2_000, 60_000]),
    rejoinGraceMs: random.pick([500, 2_000]),
    compression: random.chance(0.5),
  }
}

function drawNetwork(random: SeededRandom): NetworkProfile {
  const minLatencyUs = random.pick([50, 500, 10_000])
  return {
    minLatencyUs,
    maxLatencyUs: minLatencyUs * random.pick([1, 5, 20]),
    jitterUs: random.pick([20, 500, 5_000]),
    maxJitterUs: random.pick([5_000, 300_000, 2_000_000]),
    bandwidthBytesPerUs: random.pick([1, 100, 1_000]),
    unacknowledgedTimeoutUs: random.pick([2_000_000, 15_000_000, 120_000_000]),
  }
}

function drawDisk(random: SeededRandom): DiskProfile {
  return {
    writeUs: random.pick([10, 200]),
    syncUs: random.pick([200, 2_000, 20_000]),
    maxSyncUs: random.pick([10_000, 200_000, 2_000_000]),
    losesPages: random.chance(0.3),
  }
}
