import type { Scheduler, Timer } from '../environment/environment.js'
import type { Acknowledgements } from '../gossip/acknowledgements.js'
import type { ConsistencyLevel } from '../sync/consistency.js'
import { AbortedError, LevelNotReachedError, NotRunningError, OverloadedError } from '../sync/errors.js'
import { type QueuedWaiter, WaiterQueue } from './waiter-queue.js'
import type { Milestone, WritePosition } from './write-group.js'

export interface ReachOptions {
  /** How long to wait; default 5,000. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export const DEFAULT_REACH_TIMEOUT_MS = 5_000
/** Callers that may wait for a level at once. */
export const MAX_LEVEL_WAITERS = 65_536

/** Levels that need others. 'ANY': one other server, for a node about to leave. */
export type AwaitedLevel = Exclude<ConsistencyLevel, 'LOCAL' | 'EVENTUAL'> | 'ANY'

interface Waiter extends QueuedWaiter {
  readonly level: AwaitedLevel
  position: WritePosition | undefined
  /** Where it stands in line, once its position is known. */
  line: Line | undefined
  number: number
  isDone: boolean
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  timer: Timer | undefined
}

/** Those who wait for one level of the writes of one replica in a partition. */
interface Line extends Pick<WritePosition, 'partition' | 'replica'> {
  readonly level: AwaitedLevel
  readonly queue: WaiterQueue<Waiter>
}

/**
 * Waits until enough servers' journals hold a write. What an acknowledgement costs depends on how many it serves, and
 * not on how many wait.
 */
export class LevelWaiters {
  private readonly waiters = new Set<Waiter>()
  private readonly lines = new Map<string, Line>()

  constructor(
    private readonly serverId: string,
    private readonly acknowledgements: Acknowledgements,
    /** All servers that host the partition now, this one included, whether alive or not. */
    private readonly knownServers: (partition?: string) => readonly string[],
    private readonly scheduler: Scheduler,
    /** Until this server has met its mesh it cannot know how many servers a majority takes. */
    private readonly isReady: () => boolean,
  ) {}

  /** `numbered` is where the write will be found; it may still be waiting for its number. */
  reach(numbered: Milestone<WritePosition>, level: AwaitedLevel, options: ReachOptions): Promise<void> {
    if (this.waiters.size >= MAX_LEVEL_WAITERS) {
      return Promise.reject(new OverloadedError(`${MAX_LEVEL_WAITERS} callers wait for a consistency level`))
    }
    const { signal, timeoutMs = DEFAULT_REACH_TIMEOUT_MS } = options
    if (signal?.aborted)
      return Promise.reject(new AbortedError(`wait for ${level} aborted; the operation stands`))
    return new Promise((resolve, reject) => {
      const onAbort = () =>
        settle(() => reject(new AbortedError(`wait for ${level} aborted; the operation stands`)))
      const settle = (finish: () => void) => {
        if (!this.waiters.delete(waiter)) return
        waiter.isDone = true
        waiter.line?.queue.hasDone()
        waiter.timer?.cancel()
        signal?.removeEventListener('abort', onAbort)
        finish()
      }
      const waiter: Waiter = {
        level,
        position: undefined,
        line: undefined,
        number: 0,
        isDone: false,
        resolve: () => settle(resolve),
        reject: (error) => settle(() => reject(error)),
        timer: undefined,
      }
      this.waiters.add(waiter)
      waiter.timer = this.scheduler.after(timeoutMs, () =>
        waiter.reject(this.notReached(waiter, `not within ${timeoutMs} ms`)),
      )
      signal?.addEventListener('abort', onAbort, { once: true })
      numbered.wait().then((position) => this.standInLine(waiter, position), waiter.reject)
    })
  }

  /** Acknowledgements or the membership have changed. */
  check(): void {
    if (!this.isReady()) return
    for (const [key, line] of this.lines) {
      for (const waiter of line.queue.takeUpTo(this.reachedUpTo(line))) {
        waiter.line = undefined
        waiter.resolve()
      }
      if (line.queue.isEmpty) this.lines.delete(key)
    }
  }

  stop(): void {
    for (const waiter of [...this.waiters]) {
      waiter.reject(new NotRunningError('the node stopped while waiting for a consistency level'))
    }
  }

  private standInLine(waiter: Waiter, position: WritePosition): void {
    if (waiter.isDone) return
    const { level } = waiter
    const { partition, replica, number } = position
    waiter.position = position
    waiter.number = number
    if (this.isReady() && this.count(position) >= this.needed(level, partition)) {
      waiter.resolve()
      return
    }
    const key = `${level}\n${partition}\n${replica}`
    const line = this.lines.get(key) ?? { level, partition, replica, queue: new WaiterQueue<Waiter>() }
    this.lines.set(key, line)
    line.queue.add(waiter)
    waiter.line = line
  }

  /** The highest number that has reached the level. */
  private reachedUpTo({ level, partition, replica }: Line): number {
    const others = this.needed(level, partition) - 1
    if (others <= 0) return Number.POSITIVE_INFINITY
    const held = this.others(partition).map((server) => this.acknowledgements.get(server, partition, replica))
    return held.sort((left, right) => right - left)[others - 1] ?? 0
  }

  private needed(level: AwaitedLevel, partition?: string): number {
    const known = this.knownServers(partition).length
    const servers = this.isReady() ? known : Math.max(2, known)
    if (level === 'ANY') return 2
    if (level === 'QUORUM') return Math.floor(servers / 2) + 1
    return level === 'STRONG' ? servers : 1
  }

  private count(position: WritePosition | undefined): number {
    if (!position) return 1
    const { partition, replica, number } = position
    return 1 + this.acknowledgements.count(this.others(partition), partition, replica, number)
  }

  private others(partition: string): string[] {
    return this.knownServers(partition).filter((server) => server !== this.serverId)
  }

  private notReached({ level, position }: Waiter, reason: string): LevelNotReachedError {
    return new LevelNotReachedError(
      level,
      this.count(position),
      this.needed(level, position?.partition),
      reason,
    )
  }
}
