import type { Environment, Timer } from '../environment/environment.js'
import { LockLostError, NotRunningError } from '../sync/errors.js'
import type { Logger } from '../sync/logger.js'
import type { StrongStore } from './strong-store.js'

/** How long the group keeps what a silent server holds; as long it takes until another takes over. */
export const DEFAULT_LEASE_TTL_MS = 10_000
/** Shorter ones would be lost to any stall of a game server. */
export const MIN_LEASE_TTL_MS = 1_000

/** Part of the term that is given away, so that a holder whose clock runs slower than the leader's stops in time. */
const CLOCK_MARGIN = 0.1
/** Renewals that a lease without use gets before it is given back. */
const IDLE_RENEWALS = 3

export interface LeaseOptions {
  readonly store: StrongStore
  readonly environment: Pick<Environment, 'clock' | 'scheduler'>
  readonly logger: Logger
  readonly ttlMs: number
}

/** A lease while this server may rely on it. */
export interface HeldLease {
  readonly id: number
  /** Looks at the clock, so it is right even where a stall has kept timers from firing. */
  isValid(): boolean
  /**
   * Calls back once when it is lost, before the group gives its keys to others; at once if it is. The listener
   * must not throw. Returns the function that ends it.
   */
  onLost(listener: (reason: LockLostError) => void): () => void
  /** Asks the group now, when something says that it may have ended there. Never rejects. */
  verify(): Promise<void>
}

interface Held extends HeldLease {
  readonly listeners: Set<(reason: LockLostError) => void>
  loss: LockLostError | undefined
  /** Monotonic time up to which the group certainly keeps it. */
  validUntilMs: number
}

/**
 * One lease of this server, for all that it holds in the group: granted when first needed, renewed every third
 * of its term, granted anew after a loss. The term counts from the moment before a grant or renewal was *sent*, on
 * this server's own monotonic clock, and the group's from when it was applied, later; so this server knows of the
 * loss first (Gray and Cheriton 1989), as long as clocks run at rates that differ by less than `CLOCK_MARGIN`.
 * A process that is frozen cannot notice in time: for that there are fencing tokens.
 */
export class NodeLease {
  /** Uses of it that have not ended; counted by `LeasePool`. */
  uses = 0
  private held: Held | undefined
  private granting: Promise<HeldLease> | undefined
  private timer: Timer | undefined
  private idleRenewals = 0
  private stopped = false

  constructor(private readonly options: LeaseOptions) {}

  /** The lease, granted now if there is none. @throws what `StrongStore.grantLease` throws; NotRunningError */
  async acquire(): Promise<HeldLease> {
    if (this.stopped) throw new NotRunningError('the node is stopping')
    if (this.held?.isValid()) return this.held
    this.granting ??= this.grant().finally(() => {
      this.granting = undefined
    })
    return this.granting
  }

  /** The lease while it is held; loses it if its time is up. */
  get current(): HeldLease | undefined {
    return this.held?.isValid() ? this.held : undefined
  }

  /** Gives the lease back; what it holds goes at once. Idempotent. Never rejects. */
  async stop(): Promise<void> {
    this.stopped = true
    await this.granting?.catch(() => undefined)
    await this.giveBack()
  }

  private async grant(): Promise<HeldLease> {
    const { store, ttlMs, environment } = this.options
    const sentMs = environment.clock.monotonicMs()
    const id = await store.grantLease(ttlMs, { timeoutMs: ttlMs / 2 })
    const listeners: Held['listeners'] = new Set()
    const held: Held = {
      id,
      listeners,
      loss: undefined,
      validUntilMs: this.validUntil(sentMs),
      isValid: () => this.isValid(held),
      onLost: (listener) => {
        if (held.loss) listener(held.loss)
        else listeners.add(listener)
        return () => listeners.delete(listener)
      },
      verify: () => this.renew(held),
    }
    if (!held.isValid()) throw lost('it took longer to be granted than it lasts')
    this.held = held
    this.idleRenewals = 0
    this.schedule(held)
    return held
  }

  private validUntil(sentMs: number): number {
    return sentMs + this.options.ttlMs * (1 - CLOCK_MARGIN)
  }

  private isValid(held: Held): boolean {
    if (held.loss) return false
    if (this.options.environment.clock.monotonicMs() < held.validUntilMs) return true
    this.lose(held, 'it was not renewed in time')
    return false
  }

  private lose(held: Held, reason: string): void {
    if (this.held === held) {
      this.held = undefined
      this.timer?.cancel()
    }
    if (held.loss) return
    held.loss = lost(reason)
    this.options.logger.info({ lease: held.id, reason }, 'this server no longer holds its lease')
    for (const listener of [...held.listeners]) listener(held.loss)
    held.listeners.clear()
  }

  /** The next renewal, or the end when that comes first. */
  private schedule(held: Held, delayMs: number = this.options.ttlMs / 3): void {
    const { clock, scheduler } = this.options.environment
    const restMs = Math.max(0, held.validUntilMs - clock.monotonicMs())
    this.timer?.cancel()
    this.timer = scheduler.after(Math.min(delayMs, restMs), () => {
      void this.renew(held)
    })
  }

  private async renew(held: Held): Promise<void> {
    if (this.held !== held || !held.isValid()) return
    this.idleRenewals = this.uses > 0 ? 0 : this.idleRenewals + 1
    if (this.idleRenewals > IDLE_RENEWALS) {
      await this.giveBack()
      return
    }
    const { store, ttlMs, environment } = this.options
    const sentMs = environment.clock.monotonicMs()
    // The signal must fire in time although the renewal may hang.
    this.schedule(held, held.validUntilMs - sentMs)
    let delayMs = ttlMs / 3
    try {
      const renewed = await store.renewLease(held.id, { timeoutMs: ttlMs / 3 })
      if (renewed) held.validUntilMs = Math.max(held.validUntilMs, this.validUntil(sentMs))
      else this.lose(held, 'the group has ended it')
    } catch (error) {
      this.options.logger.debug({ lease: held.id, error }, 'a lease was not renewed, trying again')
      delayMs = ttlMs / 12
    }
    if (this.held === held && held.isValid()) this.schedule(held, delayMs)
  }

  private async giveBack(): Promise<void> {
    const { held } = this
    if (held === undefined) return
    this.lose(held, 'this server gives it back')
    try {
      await this.options.store.revokeLease(held.id, { timeoutMs: this.options.ttlMs / 3 })
    } catch (error) {
      // It ends by itself.
      this.options.logger.debug({ lease: held.id, error }, 'a lease could not be given back')
    }
  }
}

function lost(reason: string): LockLostError {
  return new LockLostError(`the lease of this server is lost: ${reason}`)
}
