import type { SeededRandom } from '../kernel/random.js'

/** What the wires of one run are like. Drawn from the seed. */
export interface NetworkProfile {
  /** Smallest and largest one-way delay between two servers; each pair draws its own in between. */
  readonly minLatencyUs: number
  readonly maxLatencyUs: number
  /** Scale of the additional delay of each message; it has a heavy tail. */
  readonly jitterUs: number
  readonly maxJitterUs: number
  readonly bandwidthBytesPerUs: number
  /** How long data may stay unacknowledged before the sender's system gives the connection up. */
  readonly unacknowledgedTimeoutUs: number
}

export const DEFAULT_PROFILE: NetworkProfile = {
  minLatencyUs: 100,
  maxLatencyUs: 5_000,
  jitterUs: 200,
  maxJitterUs: 200_000,
  bandwidthBytesPerUs: 100,
  unacknowledgedTimeoutUs: 15_000_000,
}

const LOOPBACK_US = 30
/** Numbers of servers are below this, so that a pair fits in one number. */
const MAX_SERVERS = 4096

interface Path {
  readonly latencyUs: number
  cuts: number
  slowdown: number
}

/** The state of each directed path between two servers: its delay, whether it is cut, how slow it is. */
export class NetworkConditions {
  readonly #paths = new Map<number, Path>()
  readonly #changed: ((from: number, to: number) => void)[] = []

  constructor(
    readonly profile: NetworkProfile,
    readonly random: SeededRandom,
  ) {}

  onChange(listener: (from: number, to: number) => void): void {
    this.#changed.push(listener)
  }

  isCut(from: number, to: number): boolean {
    return from !== to && this.#path(from, to).cuts > 0
  }

  /** One more reason why nothing passes from `from` to `to`. */
  cut(from: number, to: number): void {
    this.#path(from, to).cuts++
    this.#notify(from, to)
  }

  /** One reason less. */
  heal(from: number, to: number): void {
    const path = this.#path(from, to)
    if (path.cuts === 0) return
    path.cuts--
    this.#notify(from, to)
  }

  /** The path is as on the first day, whatever was done to it. */
  restore(from: number, to: number): void {
    if (from === to) return
    const path = this.#path(from, to)
    path.slowdown = 1
    if (path.cuts === 0) return
    path.cuts = 0
    this.#notify(from, to)
  }

  /** Divides the bandwidth of a path; 1 is normal. */
  slow(from: number, to: number, factor: number): void {
    this.#path(from, to).slowdown = factor
  }

  /** Delay of one message now, without its transmission time. */
  latencyUs(from: number, to: number): number {
    if (from === to) return LOOPBACK_US
    const { jitterUs, maxJitterUs } = this.profile
    return this.#path(from, to).latencyUs + this.random.delay(jitterUs, maxJitterUs)
  }

  transmissionUs(from: number, to: number, bytes: number): number {
    if (from === to) return 0
    return (bytes * this.#path(from, to).slowdown) / this.profile.bandwidthBytesPerUs
  }

  #notify(from: number, to: number): void {
    for (const listener of this.#changed) listener(from, to)
  }

  #path(from: number, to: number): Path {
    const pair = from * MAX_SERVERS + to
    let path = this.#paths.get(pair)
    if (path === undefined) {
      const { minLatencyUs, maxLatencyUs } = this.profile
      const draw = this.random.fork(`path-${from}-${to}`)
      path = { latencyUs: draw.integer(minLatencyUs, maxLatencyUs), cuts: 0, slowdown: 1 }
      this.#paths.set(pair, path)
    }
    return path
  }
}
