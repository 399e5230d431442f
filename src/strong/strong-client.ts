import type { Environment, Timer } from '../environment/environment.js'
import type { ProposalOutcome, ReadOutcome } from '../raft/ready.js'
import { checkedCommand, requestToTuple } from '../raft/state-machine/command-codec.js'
import { type Command, withoutSession } from '../raft/state-machine/commands.js'
import type { Result } from '../raft/state-machine/results.js'
import {
  AbortedError,
  NoQuorumError,
  NotRunningError,
  OutcomeUnknownError,
  OverloadedError,
} from '../sync/errors.js'
import { encodeMessage } from '../wire/encode.js'
import type { WireTuple } from '../wire/wire-value.js'
import type { RaftDriver } from './raft-driver.js'
import { DEFAULT_STRONG_TIMEOUT_MS, type StrongOptions } from './strong-store.js'

/** Commands of this server that may be under way; the state machine remembers at most 1,024 results a session. */
export const MAX_PENDING_COMMANDS = 1_000
/** Linearizable reads of this server that may be under way. */
export const MAX_PENDING_BARRIERS = 4_096
/** A refused request is tried again after this, a sent one without news after `RESEND_MS`. */
const RETRY_MS = 50
const RESEND_MS = 1_500

interface PendingCommand {
  readonly sequence: number
  readonly command: WireTuple
  /** It has left this function's hands at least once: from then on its outcome may be unknown. */
  sent: boolean
  nextAttemptMs: number
  readonly finish: (settle: { result: Result } | { error: Error }) => void
}

interface PendingBarrier {
  /** Undefined while it has to be asked for (again). */
  requestId: string | undefined
  index: number | undefined
  readonly finish: (error?: Error) => void
}

/**
 * Proposes commands until they have taken effect, exactly once: each has a sequence number in this server's
 * session, so a retry after a lost answer is recognised by the state machine (Raft thesis 6.3).
 */
export class StrongClient {
  private session: number | undefined
  private openingName: string | undefined
  private nextSequence = 1
  private readonly commands = new Map<number, PendingCommand>()
  private readonly byRequest = new Map<string, number>()
  private readonly barriers = new Set<PendingBarrier>()
  private retryTimer: Timer | undefined
  private driver: RaftDriver | undefined
  private stopped = false

  constructor(
    private readonly environment: Pick<Environment, 'clock' | 'random' | 'scheduler'>,
    private readonly name: string,
  ) {}

  /** From now on through this driver; undefined: this server takes no part for the moment. */
  attach(driver: RaftDriver | undefined): void {
    this.driver = driver
    this.openingName = undefined
    this.byRequest.clear()
    for (const barrier of this.barriers) barrier.requestId = undefined
    this.sessionLost()
  }

  stop(): void {
    this.stopped = true
    this.retryTimer?.cancel()
    for (const command of [...this.commands.values()]) {
      command.finish({
        error: command.sent
          ? new OutcomeUnknownError('the node stopped before the outcome was known')
          : new NotRunningError('the node stopped'),
      })
    }
    for (const barrier of [...this.barriers]) barrier.finish(new NotRunningError('the node stopped'))
  }

  /** @throws the errors that `StrongStore` lists, InvalidArgumentError for a command beyond the limits */
  run(command: Command, options: StrongOptions = {}): Promise<Result> {
    const refusal = this.refusalToStart(options, this.commands.size, MAX_PENDING_COMMANDS)
    if (refusal) return Promise.reject(refusal)
    const checked = checkedCommand(command) as WireTuple
    const sequence = this.nextSequence++
    return new Promise((resolve, reject) => {
      const pending: PendingCommand = {
        sequence,
        command: checked,
        sent: false,
        nextAttemptMs: 0,
        finish: (settle) => {
          if (!this.commands.delete(sequence)) return
          disarm()
          if ('result' in settle) resolve(settle.result)
          else reject(settle.error)
        },
      }
      const disarm = this.arm(options, (why) => pending.finish({ error: this.commandError(pending, why) }))
      this.commands.set(sequence, pending)
      this.attempt(pending)
    })
  }

  /** Resolves when local reads reflect everything that was done before this call. */
  barrier(options: StrongOptions = {}): Promise<void> {
    const refusal = this.refusalToStart(options, this.barriers.size, MAX_PENDING_BARRIERS)
    if (refusal) return Promise.reject(refusal)
    return new Promise((resolve, reject) => {
      const barrier: PendingBarrier = {
        requestId: undefined,
        index: undefined,
        finish: (error) => {
          if (!this.barriers.delete(barrier)) return
          disarm()
          if (error) reject(error)
          else resolve()
        },
      }
      const disarm = this.arm(options, (why) => {
        const noQuorum = new NoQuorumError('no majority of the voters confirmed the read in time')
        barrier.finish(why === 'aborted' ? new AbortedError('the read was aborted') : noQuorum)
      })
      this.barriers.add(barrier)
      this.askBarrier(barrier)
    })
  }

  /** A command of anybody's has been applied. */
  applied(index: number, request: WireTuple | undefined, result: Result): void {
    if (!request) return
    const [session, sequence, , command] = request
    if (
      session === 0 &&
      Array.isArray(command) &&
      result.status === 'session' &&
      command.includes(this.openingName ?? null)
    ) {
      this.openingName = undefined
      this.session = index
      this.attemptAll()
      return
    }
    if (session !== this.session || typeof sequence !== 'number') return
    const pending = this.commands.get(sequence)
    if (!pending) return
    if (result.status === 'refused' && result.reason === 'session-full') this.later(pending, RETRY_MS)
    else if (result.status === 'refused' && result.reason === 'session-unknown') this.sessionLost()
    else pending.finish({ result })
  }

  progressed(appliedIndex: number): void {
    for (const barrier of [...this.barriers]) {
      if (barrier.index !== undefined && barrier.index <= appliedIndex) barrier.finish()
    }
  }

  /** A snapshot has taken the place of entries; answers that were in them are found by asking again. */
  restored(): void {
    for (const command of this.commands.values()) command.nextAttemptMs = 0
    this.retrySoon()
  }

  proposalOutcome(outcome: ProposalOutcome): void {
    const sequence = this.byRequest.get(outcome.requestId)
    this.byRequest.delete(outcome.requestId)
    if (sequence === undefined) return
    if (sequence === 0 && outcome.status !== 'accepted') this.openingName = undefined
    const pending = this.commands.get(sequence)
    if (outcome.status === 'accepted') {
      if (pending) this.later(pending, RESEND_MS)
    } else if (pending) this.later(pending, RETRY_MS)
    else this.retrySoon()
  }

  readOutcome(outcome: ReadOutcome): void {
    for (const barrier of this.barriers) {
      if (barrier.requestId !== outcome.requestId) continue
      barrier.requestId = undefined
      if (outcome.status === 'confirmed') barrier.index = outcome.index
      else this.retrySoon()
      break
    }
    if (this.driver) this.progressed(this.driver.appliedIndex)
  }

  leaderChanged(): void {
    for (const command of this.commands.values()) command.nextAttemptMs = 0
    this.openingName = undefined
    this.retrySoon()
  }

  private attempt(pending: PendingCommand): void {
    if (this.session === undefined) {
      this.openSession()
      this.later(pending, RETRY_MS)
      return
    }
    const { sequence, command } = pending
    const oldestPending = this.commands.keys().next().value ?? sequence
    const proposed = this.propose([this.session, sequence, oldestPending, command], sequence)
    if (proposed) pending.sent = true
    this.later(pending, proposed ? RESEND_MS : RETRY_MS)
  }

  private openSession(): void {
    if (this.openingName !== undefined || !this.driver) return
    const unique = Buffer.from(this.environment.random.bytes(8)).toString('hex')
    const name = `${this.name.slice(0, 140)}#${unique}`
    const request = withoutSession({ kind: 'open-session', name })
    if (this.propose(requestToTuple(request) as WireTuple, 0)) this.openingName = name
  }

  /** Returns whether the proposal is on its way. */
  private propose(tuple: WireTuple, sequence: number): boolean {
    const result = this.driver?.propose(encodeMessage(tuple))
    if (!result || result.status === 'refused') return false
    if (result.status === 'forwarded') this.byRequest.set(result.requestId, sequence)
    return true
  }

  private askBarrier(barrier: PendingBarrier): void {
    const result = this.driver?.requestRead()
    if (result?.status === 'pending') barrier.requestId = result.requestId
    else this.retrySoon()
  }

  /** The group has forgotten this session: what became of the commands sent in it cannot be found out. */
  private sessionLost(): void {
    this.session = undefined
    for (const pending of [...this.commands.values()]) {
      if (pending.sent)
        pending.finish({ error: new OutcomeUnknownError('the session was dropped by the group') })
    }
    this.retrySoon()
  }

  private later(pending: PendingCommand, delayMs: number): void {
    pending.nextAttemptMs = this.environment.clock.monotonicMs() + delayMs
    this.retrySoon()
  }

  private retrySoon(): void {
    if (this.stopped || this.retryTimer) return
    this.retryTimer = this.environment.scheduler.after(RETRY_MS, () => {
      this.retryTimer = undefined
      this.attemptAll()
    })
  }

  private attemptAll(): void {
    if (this.stopped) return
    const nowMs = this.environment.clock.monotonicMs()
    for (const pending of [...this.commands.values()]) {
      if (pending.nextAttemptMs <= nowMs || (this.session !== undefined && !pending.sent))
        this.attempt(pending)
    }
    for (const barrier of this.barriers) {
      if (barrier.requestId === undefined && barrier.index === undefined) this.askBarrier(barrier)
    }
    if (this.commands.size > 0 || this.barriers.size > 0) this.retrySoon()
  }

  private refusalToStart(options: StrongOptions, pending: number, limit: number): Error | undefined {
    if (this.stopped) return new NotRunningError('the node has stopped')
    if (options.signal?.aborted) return new AbortedError('aborted before it began')
    return pending >= limit
      ? new OverloadedError(`${limit} strong operations of this server are under way`)
      : undefined
  }

  private commandError({ sent }: PendingCommand, why: 'timeout' | 'aborted'): Error {
    if (why === 'aborted') return new AbortedError('the operation was aborted; it may have happened')
    if (sent) return new OutcomeUnknownError('sent, but no outcome came back in time')
    return new NoQuorumError('no leader or no majority of the voters within the timeout; nothing was done')
  }

  /** Returns the function that disarms. */
  private arm({ timeoutMs, signal }: StrongOptions, fire: (why: 'timeout' | 'aborted') => void): () => void {
    const onAbort = () => fire('aborted')
    const timer = this.environment.scheduler.after(timeoutMs ?? DEFAULT_STRONG_TIMEOUT_MS, () =>
      fire('timeout'),
    )
    signal?.addEventListener('abort', onAbort, { once: true })
    return () => {
      timer.cancel()
      signal?.removeEventListener('abort', onAbort)
    }
  }
}
