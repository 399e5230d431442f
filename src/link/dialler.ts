import type { Clock, RandomSource, Scheduler, Timer } from '../environment/environment.js'
import type { RefusalReason } from '../sync/errors.js'
import {
  MAX_TARGETS,
  RECONNECT_MAX_MS,
  RECONNECT_MIN_MS,
  REFUSED_RETRY_MS,
  STABLE_LINK_MS,
} from './link-manager-options.js'

/** Dials at the same time; the others wait their turn. */
const MAX_PARALLEL_DIALS = 8

/** How one dial ended. `serverId`: who answered there, when known. */
export type DialOutcome =
  | { readonly kind: 'linked'; readonly serverId: string }
  | { readonly kind: 'refused'; readonly reason: RefusalReason; readonly serverId: string }
  | { readonly kind: 'failed' }

interface Target {
  readonly address: string
  /** Who answered there last; '' before anybody did. */
  serverId: string
  attempts: number
  dialling: boolean
  /** It is this server's own address. */
  self: boolean
  timer: Timer | undefined
}

/** What the dialler asks of the manager. */
export interface DiallerHost {
  readonly scheduler: Scheduler
  readonly random: RandomSource
  readonly clock: Clock
  dial(address: string): Promise<DialOutcome>
  /** A link to that server or address exists, or must not exist: do not dial. */
  isSettled(serverId: string, address: string): boolean
}

/** Keeps dialling a set of addresses until each leads to a link, with growing, jittered pauses. */
export class Dialler {
  private readonly targets = new Map<string, Target>()
  private dialling = 0
  private stopped = false

  constructor(private readonly host: DiallerHost) {}

  setTargets(addresses: readonly string[]): void {
    const wanted = new Set(addresses.slice(0, MAX_TARGETS))
    for (const [address, target] of this.targets) {
      if (wanted.has(address)) continue
      target.timer?.cancel()
      this.targets.delete(address)
    }
    for (const address of wanted) {
      if (this.targets.has(address)) continue
      this.targets.set(address, {
        address,
        serverId: '',
        attempts: 0,
        dialling: false,
        self: false,
        timer: undefined,
      })
    }
    this.dialWhatIsMissing()
  }

  /** A link is gone: its addresses are dialled again, from the shortest pause if it had been stable. */
  linkDown(serverId: string, listenAddress: string, livedMs: number): void {
    for (const target of this.targets.values()) {
      if (target.serverId !== serverId && target.address !== listenAddress) continue
      if (livedMs >= STABLE_LINK_MS) target.attempts = 0
      if (target.timer === undefined && !target.dialling) this.retryLater(target)
    }
  }

  /** Forgets all pauses, such as after a cut is healed. */
  retryNow(): void {
    for (const target of this.targets.values()) {
      target.timer?.cancel()
      target.timer = undefined
      target.attempts = 0
    }
    this.dialWhatIsMissing()
  }

  stop(): void {
    this.stopped = true
    for (const target of this.targets.values()) target.timer?.cancel()
    this.targets.clear()
  }

  private dialWhatIsMissing(): void {
    for (const target of this.targets.values()) {
      if (this.stopped || this.dialling >= MAX_PARALLEL_DIALS) return
      if (target.dialling || target.self || target.timer !== undefined) continue
      if (!this.host.isSettled(target.serverId, target.address)) this.dial(target)
    }
  }

  private dial(target: Target): void {
    target.dialling = true
    this.dialling += 1
    this.host.dial(target.address).then(
      (outcome) => this.dialled(target, outcome),
      () => this.dialled(target, { kind: 'failed' }),
    )
  }

  private dialled(target: Target, outcome: DialOutcome): void {
    this.dialling -= 1
    target.dialling = false
    if (this.stopped) return
    if (this.targets.get(target.address) === target) this.note(target, outcome)
    this.dialWhatIsMissing()
  }

  private note(target: Target, outcome: DialOutcome): void {
    if (outcome.kind !== 'failed' && outcome.serverId !== '') target.serverId = outcome.serverId
    if (outcome.kind === 'refused' && outcome.reason === 'self') target.self = true
    // There is a link (this one, or the one this was a duplicate of); `linkDown` will tell when it is gone.
    else if (this.host.isSettled(target.serverId, target.address)) return
    else if (outcome.kind === 'refused' && isLasting(outcome.reason)) this.wait(target, REFUSED_RETRY_MS)
    else this.retryLater(target)
  }

  private retryLater(target: Target): void {
    this.wait(target, backoffMs(target.attempts))
    target.attempts += 1
  }

  private wait(target: Target, pauseMs: number): void {
    if (this.stopped) return
    target.timer?.cancel()
    target.timer = this.host.scheduler.after(pauseMs * (0.5 + 0.5 * this.host.random.uniform()), () => {
      target.timer = undefined
      this.dialWhatIsMissing()
    })
  }
}

/** Doubles from the minimum to the maximum; jitter comes on top. */
export function backoffMs(attempts: number): number {
  return Math.min(RECONNECT_MAX_MS, RECONNECT_MIN_MS * 2 ** Math.min(attempts, 30))
}

/** Refusals that only an operator can change. */
function isLasting(reason: RefusalReason): boolean {
  return reason === 'wrong-secret' || reason === 'wrong-cluster' || reason === 'unsupported-version'
}
