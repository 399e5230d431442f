import type { Scheduler, Timer } from '../environment/environment.js'
import type { Acknowledgements } from '../gossip/acknowledgements.js'
import type { ConsistencyLevel } from '../sync/consistency.js'
import { AbortedError, LevelNotReachedError, NotRunningError, OverloadedError } from '../sync/errors.js'
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

interface Waiter {
  readonly level: AwaitedLevel
  position: WritePosition | undefined
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  timer: Timer | undefined
}

/** Waits until enough servers' journals hold a write. */
export class LevelWaiters {
  private readonly waiters = new Set<Waiter>()

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
        waiter.timer?.cancel()
        signal?.removeEventListener('abort', onAbort)
        finish()
      }
      const waiter: Waiter = {
        level,
        position: undefined,
        resolve: () => settle(resolve),
        reject: (error) => settle(() => reject(error)),
        timer: undefined,
      }
      this.waiters.add(waiter)
      waiter.timer = this.scheduler.after(timeoutMs, () =>
        waiter.reject(this.notReached(waiter, `not within ${timeoutMs} ms`)),
      )
      signal?.addEventListener('abort', onAbort, { once: true })
      numbered.wait().then((position) => {
        waiter.position = position
        this.checkOne(waiter)
      }, waiter.reject)
    })
  }

  /** Acknowledgements or the membership have changed. */
  check(): void {
    for (const waiter of [...this.waiters]) this.checkOne(waiter)
  }

  stop(): void {
    for (const waiter of [...this.waiters]) {
      waiter.reject(new NotRunningError('the node stopped while waiting for a consistency level'))
    }
  }

  private checkOne(waiter: Waiter): void {
    const { position, level } = waiter
    if (position && this.isReady() && this.count(position) >= this.needed(level, position.partition))
      waiter.resolve()
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
    const others = this.knownServers(partition).filter((server) => server !== this.serverId)
    return 1 + this.acknowledgements.count(others, partition, replica, number)
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
