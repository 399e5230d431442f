import type { Environment } from '../../environment/environment.js'
import { SeededRandom } from '../../simulation/kernel/random.js'
import { AbortedError } from '../../sync/errors.js'
import { DemoFailure, GameServer } from './game-server.js'
import type { ProgressReport } from './progress.js'

export interface DemoOptions {
  /** How long the players play. */
  readonly seconds: number
  readonly seed: number
}

/** What the phases have done, for the report. Later phases add their own counts. */
export interface DemoCounts {
  kills: number
  cuts: number
  /** The leader of the strong group was the one that was killed. */
  leaderKills: number
}

const CLUSTER = 'demo'
const SERVER_NAMES = ['lobby-1', 'lobby-2', 'lobby-3'] as const
const PLAYERS_A_SERVER = 100
const SECRET_BYTES = 32
const LOOK_MS = 20
const DETAIL_MS = 200

/** Three servers, and what a phase needs to play with them. */
export class Stage {
  readonly servers: readonly GameServer[]
  readonly counts: DemoCounts = { kills: 0, cuts: 0, leaderKills: 0 }
  readonly random: SeededRandom
  /** Killed, to be started again. */
  victim: GameServer | undefined
  private readonly ended = new AbortController()

  constructor(
    readonly environment: Environment,
    directory: string,
    readonly options: DemoOptions,
    readonly progress: ProgressReport,
    interrupted: AbortSignal,
  ) {
    this.random = new SeededRandom(options.seed).fork('stage')
    const secret = Buffer.from(environment.random.bytes(SECRET_BYTES)).toString('hex')
    const end = (reason: Error) => {
      if (!this.ended.signal.aborted) this.ended.abort(reason)
    }
    interrupted.addEventListener('abort', () => end(new AbortedError('the demo was interrupted')), {
      once: true,
    })
    this.servers = SERVER_NAMES.map((serverId) => {
      const dataDir = `${directory}/${serverId}`
      const operationLog = `${directory}/${serverId}.operations.log`
      const structureLog = `${directory}/${serverId}.structure.log`
      const { seed } = options
      const params = {
        clusterId: CLUSTER,
        serverId,
        secret,
        dataDir,
        operationLog,
        structureLog,
        seed,
        players: PLAYERS_A_SERVER,
      }
      return new GameServer(environment, params, end)
    })
  }

  peersOf(server: GameServer): string[] {
    return this.servers.flatMap(({ id, address }) => (id !== server.id && address !== '' ? [address] : []))
  }

  all<T>(work: (server: GameServer) => Promise<T>): Promise<T[]> {
    return this.orEnd(Promise.all(this.servers.map(work)))
  }

  /** Lets the players play for a share of the demo's time. */
  async playOn(share: number): Promise<void> {
    const { clock } = this.environment
    const untilMs = clock.monotonicMs() + share * this.options.seconds * 1000
    while (clock.monotonicMs() < untilMs) {
      await this.pause(Math.min(DETAIL_MS, untilMs - clock.monotonicMs()))
      this.showProgress()
    }
  }

  /** @throws DemoFailure when it has not become true in time */
  async until(what: string, timeoutMs: number, isTrue: () => Promise<boolean>): Promise<void> {
    if (!(await this.becomes(timeoutMs, isTrue))) throw new DemoFailure(`${what}: not within ${timeoutMs} ms`)
  }

  async becomes(timeoutMs: number, isTrue: () => Promise<boolean>): Promise<boolean> {
    const { clock } = this.environment
    const deadlineMs = clock.monotonicMs() + timeoutMs
    while (!(await this.orEnd(isTrue()))) {
      if (clock.monotonicMs() >= deadlineMs) return false
      await this.pause(LOOK_MS)
    }
    return true
  }

  /** The leader of the strong group, of the newest term that any of these servers knows; undefined without one. */
  async leader(servers: readonly GameServer[] = this.servers): Promise<GameServer | undefined> {
    const states = await this.orEnd(Promise.all(servers.map((server) => server.call('state', undefined))))
    const newest = states.reduce((best, state) => (state.term > best.term ? state : best))
    return servers.find(({ id }) => id === newest.leader)
  }

  /** How often leadership has passed on, as all servers together have seen. */
  get leaderChanges(): number {
    const terms = new Map(this.servers.flatMap(({ leaders }) => [...leaders]))
    const leaders = [...terms].sort(([left], [right]) => left - right).map(([, serverId]) => serverId)
    return leaders.filter((serverId, position) => position > 0 && serverId !== leaders[position - 1]).length
  }

  /** Whatever still runs, dies. */
  async tearDown(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()))
  }

  /** The work's result, unless the demo is interrupted or a server dies unasked before. */
  orEnd<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.ended
    return new Promise((resolve, reject) => {
      const end = () => reject(signal.reason)
      if (signal.aborted) end()
      signal.addEventListener('abort', end, { once: true })
      work.then(resolve, reject).finally(() => signal.removeEventListener('abort', end))
    })
  }

  private pause(delayMs: number): Promise<void> {
    return this.orEnd(new Promise((resolve) => this.environment.scheduler.after(delayMs, resolve)))
  }

  private showProgress(): void {
    const acknowledged = this.servers.reduce((sum, { progress }) => sum + progress.acknowledged, 0)
    this.progress.detail(`${acknowledged.toLocaleString('en')} operations acknowledged`)
  }
}
