import { AsyncLocalStorage } from 'node:async_hooks'
import type { Environment } from '../environment/environment.js'
import {
  ConflictError,
  InvalidArgumentError,
  LockLostError,
  LockReentryError,
  LockTimeoutError,
  NoQuorumError,
  NotRunningError,
  OutcomeUnknownError,
  OverloadedError,
} from '../sync/errors.js'
import type { Logger } from '../sync/logger.js'
import { Deadline } from './deadline.js'
import type { LeasePool } from './lease-pool.js'
import { LockCleanup, type Waiter } from './lock-cleanup.js'
import { LockGates } from './lock-gates.js'
import { checkLockKey, gateKey, lockPrefix } from './lock-keys.js'
import type { StrongStore } from './strong-store.js'

export const DEFAULT_LOCK_TIMEOUT_MS = 10_000
export const MAX_LOCK_TIMEOUT_MS = 24 * 60 * 60 * 1000
/** Locks that one server holds, waits for or still has to release. */
export const MAX_LOCAL_LOCKS = 512

/** What an operation gets while it holds a lock. */
export interface Lock {
  readonly key: string
  /**
   * Larger than that of every earlier holder of this lock. Whoever guards a resource refuses a token lower than the
   * highest it has seen, and is then safe from a holder that was frozen and does not know that it has lost the lock.
   */
  readonly fencingToken: bigint
  /** Fires, with a LockLostError, when the lock is lost or about to be: stop what you do. */
  readonly signal: AbortSignal
}

export interface LockOptions {
  /** How long to wait for the lock; default `DEFAULT_LOCK_TIMEOUT_MS`. The operation may take longer. */
  readonly timeoutMs?: number
  /** Ends the waiting; not the operation. */
  readonly signal?: AbortSignal
}

export interface LocksOptions {
  readonly store: StrongStore
  readonly environment: Pick<Environment, 'clock' | 'scheduler'>
  readonly leases: LeasePool
  readonly logger: Logger
}

interface Holding {
  readonly locks: Locks
  readonly key: string
  active: boolean
  readonly within: Holding | undefined
}

/**
 * What the running code holds. One for all nodes of a process: the runtime goes through every storage that was ever
 * used whenever a promise is made, and keeps what is in them.
 */
const holdings = new AsyncLocalStorage<Holding>()

/**
 * Locks of the whole mesh, fair: etcd's recipe (clientv3/concurrency Mutex), after Burrows 2006 (Chubby) for leases
 * and sequencers. Each waiter is a key under its server's lease; the one created first holds the lock, each other one
 * watches only the one before it. A server that dies loses its lease and with it all it holds and waits for.
 */
export class Locks {
  private readonly deadlines = new Set<Deadline>()
  private readonly gates: LockGates
  private readonly cleanup: LockCleanup
  private active = 0
  private waiters = 0
  private stopped = false

  constructor(private readonly options: LocksOptions) {
    this.gates = new LockGates(options.store)
    this.cleanup = new LockCleanup({ ...options, gates: this.gates })
  }

  /**
   * Runs the operation while this server holds the lock, and gives its result. The lock is released when the
   * operation has completed or thrown. Locks are not reentrant.
   * @throws LockTimeoutError, NoQuorumError, AbortedError, OverloadedError, NotRunningError, InvalidArgumentError:
   * the operation has not run. LockReentryError: it would wait for itself. LockLostError: the operation completed
   * but the lock was lost meanwhile. What the operation throws.
   */
  async executeAtomic<T>(
    key: string,
    operation: (lock: Lock) => Promise<T> | T,
    options: LockOptions = {},
  ): Promise<T> {
    checkLockKey(key)
    const timeoutMs = checkOptions(options)
    const within = holdings.getStore()
    for (let held = within; held !== undefined; held = held.within) {
      if (held.active && held.locks === this && held.key === key) {
        throw new LockReentryError(
          `lock ${JSON.stringify(key)} is held by the very operation that asks for it`,
        )
      }
    }
    if (this.stopped) throw new NotRunningError('the node is stopping')
    if (this.active + this.cleanup.size >= MAX_LOCAL_LOCKS) {
      throw new OverloadedError(`this server holds or waits for ${MAX_LOCAL_LOCKS} locks already`)
    }
    this.active += 1
    try {
      const { waiter, fencingToken } = await this.acquire(key, timeoutMs, options.signal)
      return await this.run({ locks: this, key, active: true, within }, waiter, fencingToken, operation)
    } finally {
      this.active -= 1
    }
  }

  /** Ends all waiting; what is held goes with the leases. */
  stop(): void {
    this.stopped = true
    for (const deadline of this.deadlines) deadline.end(new NotRunningError('the node is stopping'))
    this.cleanup.stop()
  }

  private async run<T>(
    holding: Holding,
    waiter: Waiter,
    fencingToken: bigint,
    operation: (lock: Lock) => Promise<T> | T,
  ): Promise<T> {
    const controller = new AbortController()
    const { lease } = waiter.use
    const unlisten = lease.onLost((reason) => controller.abort(reason))
    try {
      const lock = Object.freeze({ key: holding.key, fencingToken, signal: controller.signal })
      const result = await holdings.run(holding, async () => operation(lock))
      if (lease.isValid()) return result
      throw new LockLostError(`lock ${JSON.stringify(holding.key)} was lost while the operation ran`)
    } finally {
      holding.active = false
      unlisten()
      await this.cleanup.remove(waiter)
    }
  }

  private async acquire(
    key: string,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<{ waiter: Waiter; fencingToken: bigint }> {
    const expired = () => new LockTimeoutError(`lock ${JSON.stringify(key)} not got within ${timeoutMs} ms`)
    const deadline = new Deadline({ environment: this.options.environment, timeoutMs, signal, expired })
    this.deadlines.add(deadline)
    try {
      for (;;) {
        const acquired = await this.attempt(lockPrefix(key), deadline)
        if (acquired !== undefined) return acquired
      }
    } catch (error) {
      if (!(error instanceof OutcomeUnknownError)) throw error
      throw new LockTimeoutError(`lock ${JSON.stringify(key)} not got: ${error.message}`, { cause: error })
    } finally {
      this.deadlines.delete(deadline)
      deadline.dispose()
    }
  }

  /** Undefined when the lease was lost on the way: then from the end of the queue, with a new one. */
  private async attempt(prefix: string, deadline: Deadline) {
    deadline.restMs()
    const using = this.options.leases.use()
    const use = await deadline.wait(using).catch((error: unknown) => {
      using.then(
        (late) => late.end(),
        () => undefined,
      )
      throw error
    })
    const { lease } = use
    const waiter: Waiter = { key: `${prefix}${lease.id}-${++this.waiters}`, use, state: 'absent' }
    try {
      await this.enter(waiter, deadline)
      const revision = await this.turn(prefix, waiter, deadline)
      // Only now, after the last wait: the lease is looked at, and the operation begins in the same turn.
      if (revision !== undefined && lease.isValid()) return { waiter, fencingToken: BigInt(revision) }
    } catch (error) {
      void this.cleanup.remove(waiter)
      // Refused by the state machine: perhaps because it has ended the lease.
      if (error instanceof ConflictError) await deadline.wait(lease.verify())
      if (lease.isValid() || error instanceof NotRunningError) throw error
      deadline.restMs()
      return undefined
    }
    void this.cleanup.remove(waiter)
    await deadline.wait(lease.verify())
    return undefined
  }

  /** Puts the waiter at the end of the queue. */
  private async enter(waiter: Waiter, deadline: Deadline): Promise<void> {
    const { key, use } = waiter
    const { id } = use.lease
    while (waiter.state === 'absent') {
      const gate = this.gates.revision(use.lease)
      const operand = await deadline.wait(gate)
      const timeoutMs = deadline.restMs()
      waiter.state = 'unknown'
      try {
        const { succeeded } = await deadline.wait(
          this.options.store.transact(
            {
              comparisons: [{ key: gateKey(id), target: 'mod-revision', operator: '=', operand }],
              success: [{ kind: 'put', key, value: new Uint8Array(0), lease: id }],
            },
            { timeoutMs },
          ),
        )
        waiter.state = succeeded ? 'present' : 'absent'
        if (!succeeded) this.gates.forget(id, gate)
      } catch (error) {
        if (error instanceof NoQuorumError || error instanceof ConflictError) waiter.state = 'absent'
        throw error
      }
    }
  }

  /**
   * Waits until nobody is before it. Gives the revision at which it was created, or undefined when it is no longer
   * there. A local view may be behind, but one that shows this waiter shows all that came before it, less those
   * that had gone by then: it may wait for one that has gone, never overlook one that is there.
   */
  private async turn(prefix: string, waiter: Waiter, deadline: Deadline): Promise<number | undefined> {
    const { store } = this.options
    if (store.get(waiter.key) === undefined) {
      await deadline.wait(store.barrier({ timeoutMs: deadline.restMs() }))
    }
    for (;;) {
      const own = store.get(waiter.key)
      if (own === undefined || !waiter.use.lease.isValid()) return undefined
      let before: { key: string; createRevision: number } | undefined
      for (const other of store.list(prefix)) {
        if (other.createRevision >= own.createRevision) continue
        if (before === undefined || other.createRevision > before.createRevision) before = other
      }
      if (before === undefined) return own.createRevision
      await this.changed(before.key, waiter, deadline)
    }
  }

  /** Until the key is deleted, the store jumps, or the waiter's lease is lost. */
  private async changed(key: string, { use }: Waiter, deadline: Deadline): Promise<void> {
    let end: () => void = () => undefined
    try {
      const change = new Promise<void>((resolve) => {
        const unwatch = this.options.store.watch(key, (seen) => {
          if (
            seen.kind === 'reset' ||
            seen.events.some((event) => event.kind === 'delete' && event.key === key)
          )
            resolve()
        })
        const unlisten = use.lease.onLost(() => resolve())
        end = () => {
          unwatch()
          unlisten()
        }
      })
      await deadline.wait(change)
    } finally {
      end()
    }
  }
}

function checkOptions(options: LockOptions): number {
  for (const name of Object.keys(options)) {
    if (name !== 'timeoutMs' && name !== 'signal') throw new InvalidArgumentError(`unknown option ${name}`)
  }
  const { timeoutMs = DEFAULT_LOCK_TIMEOUT_MS } = options
  if (!(timeoutMs > 0 && timeoutMs <= MAX_LOCK_TIMEOUT_MS)) {
    throw new InvalidArgumentError(`timeoutMs: above 0, at most ${MAX_LOCK_TIMEOUT_MS}`)
  }
  return timeoutMs
}
