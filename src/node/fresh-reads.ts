import type { Partition } from '../crdt/partition.js'
import type { Scheduler } from '../environment/environment.js'
import type { FreshLevel, LevelRead, LevelReads } from '../gossip/level-reads.js'
import { READ_LEVELS, type ReadLevel } from '../sync/consistency.js'
import {
  AbortedError,
  InvalidArgumentError,
  NotRunningError,
  OverloadedError,
  ReadLevelNotReachedError,
} from '../sync/errors.js'

export interface ReadOptions {
  /**
   * LOCAL: what is here. QUORUM: at least every write that was durable on a majority of the known servers when the
   * call was made. STRONG: at least every write that was durable on any known server.
   */
  readonly level: ReadLevel
  /** How long to wait; default 5,000. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

const DEFAULT_READ_TIMEOUT_MS = 5_000
/** Reads at a level that may wait at once. */
export const MAX_WAITING_READS = 65_536

/** @throws InvalidArgumentError */
export function checkReadOptions(options: ReadOptions): void {
  if (typeof options !== 'object' || options === null)
    throw new InvalidArgumentError('read: options with a level expected')
  const { level, timeoutMs = 0, signal: _, ...unknown } = options
  const [name] = Object.keys(unknown)
  if (name !== undefined) throw new InvalidArgumentError(`read: unknown option ${name}`)
  if (!READ_LEVELS.includes(level))
    throw new InvalidArgumentError(`read: no level ${String(level)}; ${READ_LEVELS.join(', ')}`)
  if (!(Number.isFinite(timeoutMs) && timeoutMs >= 0))
    throw new InvalidArgumentError('read: timeoutMs of 0 or more')
}

interface Waiting {
  readonly fail: (error: Error) => void
}

/** Reads at a consistency level: gives the pure core its callers and their patience. */
export class FreshReads {
  private readonly waiting = new Set<Waiting>()

  constructor(
    private readonly reads: LevelReads,
    private readonly scheduler: Scheduler,
  ) {}

  /**
   * `take` reads the state at the very moment at which it is fresh enough; a turn later it may not be any more.
   * Rejects with ReadLevelNotReachedError, AbortedError, OverloadedError, NotRunningError.
   */
  read<Value>(
    partition: Partition,
    { level, timeoutMs = DEFAULT_READ_TIMEOUT_MS, signal }: ReadOptions,
    take: () => Value,
  ): Promise<Value> {
    if (signal?.aborted) return Promise.reject(new AbortedError('read aborted'))
    if (level === 'LOCAL') return Promise.resolve(take())
    if (this.waiting.size >= MAX_WAITING_READS)
      return Promise.reject(new OverloadedError(`${MAX_WAITING_READS} reads wait for a consistency level`))
    return this.wait(partition, level, timeoutMs, signal, take)
  }

  /** The state, the membership or the readiness has changed. */
  check(): void {
    if (this.waiting.size > 0) this.reads.check()
  }

  stop(): void {
    for (const { fail } of this.waiting) fail(new NotRunningError('the node stopped during a read'))
  }

  private wait<Value>(
    partition: Partition,
    level: FreshLevel,
    timeoutMs: number,
    signal: AbortSignal | undefined,
    take: () => Value,
  ): Promise<Value> {
    return new Promise((resolve, reject) => {
      const end = () => {
        this.waiting.delete(waiting)
        timer.cancel()
        signal?.removeEventListener('abort', onAbort)
      }
      const read: LevelRead = {
        partition,
        level,
        ready: () => {
          end()
          resolve(take())
        },
      }
      const waiting: Waiting = {
        fail: (error) => {
          end()
          this.reads.cancel(read)
          reject(error)
        },
      }
      const onAbort = () => waiting.fail(new AbortedError('read aborted'))
      const timer = this.scheduler.after(timeoutMs, () => {
        const { answered, needed } = this.reads.standing(read)
        waiting.fail(new ReadLevelNotReachedError(level, answered, needed, `within ${timeoutMs} ms`))
      })
      signal?.addEventListener('abort', onAbort, { once: true })
      this.waiting.add(waiting)
      this.reads.begin(read)
    })
  }
}
