import type { Environment, Timer } from '../environment/environment.js'
import type { Logger } from '../sync/logger.js'
import type { LeaseUse } from './lease-pool.js'
import type { LockGates } from './lock-gates.js'
import type { StrongStore } from './strong-store.js'

/** After which a removal that failed is tried again. */
const RETRY_MS = 500
const TRY_MS = 2_000

export interface Waiter {
  readonly key: string
  readonly use: LeaseUse
  /** Whether it is in the store: 'unknown' also when it may yet get there. */
  state: 'absent' | 'present' | 'unknown'
}

/**
 * Takes waiters out of the store, again and again until it is certain: a lease that is renewed for other locks
 * would keep them there. When the lease is lost nobody renews it any more, and the group removes them.
 */
export class LockCleanup {
  private readonly pending = new Map<Waiter, Timer | undefined>()
  private stopped = false

  constructor(
    private readonly options: {
      readonly store: StrongStore
      readonly environment: Pick<Environment, 'scheduler'>
      readonly gates: LockGates
      readonly logger: Logger
    },
  ) {}

  /** Removals that are not certain yet. */
  get size(): number {
    return this.pending.size
  }

  /** Resolves when it is removed, or when the first attempt at that has failed and others will follow. */
  async remove(waiter: Waiter): Promise<void> {
    this.pending.set(waiter, undefined)
    if (waiter.state === 'absent') this.done(waiter)
    else await this.attempt(waiter)
  }

  stop(): void {
    this.stopped = true
    for (const timer of this.pending.values()) timer?.cancel()
    this.pending.clear()
  }

  private async attempt(waiter: Waiter): Promise<void> {
    const { store, gates, logger, environment } = this.options
    const { key, use, state } = waiter
    if (!use.lease.isValid()) return this.done(waiter)
    const { id } = use.lease
    const closeGate = state === 'unknown' ? [gates.put(id)] : []
    try {
      const { revision } = await store.transact(
        { success: [...closeGate, { kind: 'delete', key }] },
        { timeoutMs: TRY_MS },
      )
      if (state === 'unknown') gates.moved(id, revision)
      this.done(waiter)
    } catch (error) {
      logger.debug({ key, error }, 'a lock is not released yet')
      if (this.stopped) return this.done(waiter)
      this.pending.set(
        waiter,
        environment.scheduler.after(RETRY_MS, () => {
          void this.attempt(waiter)
        }),
      )
    }
  }

  private done(waiter: Waiter): void {
    this.pending.delete(waiter)
    waiter.use.end()
  }
}
