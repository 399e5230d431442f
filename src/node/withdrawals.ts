import type { Effect, ItemPlace } from '../conflict/effects.js'
import { Settlement, type WithdrawRequest } from '../conflict/settlement.js'
import type { Beside } from '../conflict/withdraw-request.js'
import { addQuantities } from '../crdt/column.js'
import { outcomeOf, type ProvisionalOutcome, type ProvisionalWithdrawal } from '../crdt/provisional.js'
import type { Quantity } from '../crdt/rights.js'
import type { Environment, Timer } from '../environment/environment.js'
import { uuidV7 } from '../environment/uuid.js'
import {
  AbortedError,
  ConflictError,
  InsufficientQuantityError,
  InsufficientRightsError,
  NotRunningError,
  OverloadedError,
} from '../sync/errors.js'
import { type ReplicaId, serverOfReplica } from '../sync/identity.js'
import { encodeMessage } from '../wire/encode.js'
import type { WireTuple } from '../wire/wire-value.js'
import { answersFromTuple, answersToTuple, asksFromTuple, asksToTuple } from './borrow-messages.js'
import { rightsHolders } from './rights-holders.js'
import type { BackedOptions, WithdrawalsOptions } from './withdrawals-options.js'
import { Milestone, type WriteGroup } from './write-group.js'

/** How a provisional withdrawal ended. */
export type Settled = ProvisionalOutcome

/** A withdrawal that was made, and what is still open about it. */
export interface MadeWithdrawal {
  readonly id: string
  readonly kind: 'backed' | 'provisional'
  /** The group commit that carries it; absent in a simulation. */
  readonly group: WriteGroup
  /** Reached at once when backed. */
  readonly settled: Milestone<Settled>
}

/** Between two looks at timeouts, repeated requests and reserves. */
const TICK_MS = 100
/** Items settled in one turn of the event loop. */
const ITEMS_PER_TURN = 64
/** Effects that need not wait for the journal: nobody elsewhere relies on them, and a receipt says when it is durable. */
const URGENT: ReadonlySet<Effect['type']> = new Set(['borrow', 'refused', 'withdrawn'])

interface Waiter {
  readonly resolve: (made: MadeWithdrawal) => void
  readonly reject: (error: Error) => void
  readonly place: ItemPlace
  readonly amount: Quantity
}

/** Drives the pure settlement core of one partition: time, messages, the journal, the application. */
export class Withdrawals {
  private settlement: Settlement
  private readonly milestones = new Map<string, Milestone<Settled>>()
  private readonly waiters = new Map<string, Waiter>()
  private timer: Timer | undefined
  private running = false
  private stopped = false
  private reachable: ReadonlySet<ReplicaId> = new Set()

  private readonly startMs: number
  private readonly startWallMs: number

  constructor(private readonly options: WithdrawalsOptions) {
    const { clock } = options.environment
    this.startMs = clock.monotonicMs()
    this.startWallMs = clock.wallMs()
    this.settlement = this.settle()
  }

  start(): void {
    this.scheduleTick()
    this.runSoon()
  }

  stop(): void {
    this.stopped = true
    this.timer?.cancel()
    const error = new NotRunningError('the node stopped')
    for (const { reject } of this.waiters.values()) reject(error)
    for (const milestone of this.milestones.values()) milestone.fail(error, true)
    this.waiters.clear()
  }

  /** This server writes as another replica now; what it had under way is read from the cells again. */
  changeIncarnation(): void {
    // What the last merge told of settled withdrawals.
    this.carryOut()
    this.settlement = this.settle()
    this.settlement.setReachable(this.reachable)
    const error = new NotRunningError('this server took a new incarnation')
    for (const { reject } of this.waiters.values()) reject(error)
    this.waiters.clear()
    // Former withdrawals are this incarnation's to tell of from now on.
    this.runSoon()
  }

  setReachable(replicas: ReadonlySet<ReplicaId>): void {
    this.reachable = replicas
    this.settlement.setReachable(replicas)
    this.runSoon()
  }

  /** An entry of the partition has changed by a merge. */
  changed(entry: number): void {
    this.settlement.changed(entry)
    this.runSoon()
  }

  tryWithdraw(entry: number, amount: Quantity, beside?: Beside): boolean {
    return this.settlement.tryWithdraw(entry, amount, beside)
  }

  /** Own rights that no withdrawal under way waits for. */
  available(entry: number): Quantity {
    return this.settlement.available(entry)
  }

  /** So many wait here for rights, in no hurry, and say so again: rights move here in the background. */
  wanted(entry: number, amount: Quantity): void {
    this.settlement.wanted(entry, amount, this.nowMs())
  }

  /** So many were taken out within the own rights: more of it will be wanted. */
  took(entry: number, amount: Quantity): void {
    this.settlement.took(entry, amount)
  }

  /** How an own withdrawal that was made before stands; 'backed' when it never was provisional. */
  recall(storage: string, id: string): Pick<MadeWithdrawal, 'id' | 'kind' | 'settled'> {
    const known = this.settlement.withdrawal(storage, id)
    if (!known) return { id, kind: 'backed', settled: reached('confirmed') }
    const kind = 'provisional'
    const outcome = outcomeOf(known.state)
    if (outcome) return { id, kind, settled: reached(outcome) }
    const settled = this.milestones.get(id) ?? new Milestone<Settled>()
    if (this.settlement.isOwn(known)) this.milestones.set(id, settled)
    else
      settled.fail(
        new ConflictError(`made by ${serverOfReplica(known.replica)}, which will tell how it ends`),
        true,
      )
    return { id, kind, settled }
  }

  /** @throws InsufficientQuantityError */
  withdrawOptimistic(place: ItemPlace, amount: Quantity, id: string, beside?: Beside): MadeWithdrawal {
    const made = this.begin({
      ...place,
      amount,
      id,
      mode: 'optimistic',
      untilMs: 0,
      ...(beside && { beside }),
    })
    if (made === 'waiting') throw new OverloadedError('an optimistic withdrawal never waits')
    return made
  }

  /** Rejects with InsufficientQuantityError, InsufficientRightsError, OverloadedError, AbortedError. */
  withdrawBacked(
    place: ItemPlace,
    amount: Quantity,
    id: string,
    options: BackedOptions,
  ): Promise<MadeWithdrawal> {
    if (options.signal?.aborted)
      return Promise.reject(new AbortedError('withdrawal aborted; nothing was taken'))
    const untilMs = this.nowMs() + options.timeoutMs
    return new Promise((resolve, reject) => {
      this.waiters.set(id, { resolve, reject, place, amount })
      try {
        const { beside } = options
        const made = this.begin({ ...place, amount, id, mode: 'backed', untilMs, ...(beside && { beside }) })
        if (made !== 'waiting') this.settleWaiter(id, (waiter) => waiter.resolve(made))
      } catch (error) {
        this.settleWaiter(id, (waiter) => waiter.reject(error as Error))
      }
    })
  }

  /** What a withdrawal would be, without making it. */
  foresee(entry: number | undefined, amount: Quantity): 'backed' | 'provisional' | 'insufficient' {
    if (entry === undefined) return 'insufficient'
    if (this.settlement.spendable(entry) >= amount) return 'backed'
    return this.options.partition.table.total(entry) >= amount ? 'provisional' : 'insufficient'
  }

  /** Rights that a withdrawal here may use now; negative is a debt. */
  spendable(entry: number): Quantity {
    return this.settlement.spendable(entry)
  }

  receiveAsks(from: ReplicaId, tuple: WireTuple): void {
    for (const ask of asksFromTuple(tuple)) this.settlement.borrowAsked(from, ask, this.nowMs())
    this.carryOut()
  }

  receiveAnswers(from: ReplicaId, tuple: WireTuple): void {
    for (const answer of answersFromTuple(tuple)) this.settlement.borrowAnswered(from, answer, this.nowMs())
    this.carryOut()
  }

  /** What the undecided withdrawals of an item, by any server, add up to. */
  undecided(entry: number): Quantity {
    let sum: Quantity = 0
    for (const { amount } of this.settlement.index.undecided(entry)) sum = addQuantities(sum, amount)
    return sum
  }

  parked(): ProvisionalWithdrawal[] {
    return this.settlement.parked()
  }

  unacknowledged(): ProvisionalWithdrawal[] {
    return this.settlement.unacknowledged()
  }

  acknowledge(id: string): boolean {
    const known = this.settlement.acknowledge(id, this.nowMs())
    if (known) this.options.groupOf(this.options.partition)
    return known
  }

  /** @throws NotRunningError while this server cannot be certain of its own writes. */
  decide(id: string, decision: 'compensate' | 'keep'): boolean {
    const outcome = this.settlement.decide(id, decision, this.nowMs())
    if (outcome === 'not-yet') {
      throw new NotRunningError(
        'this server has yet to hear from its peers since it started; decide again then',
      )
    }
    this.carryOut()
    return outcome === 'decided'
  }

  private settle(): Settlement {
    const { partition, resolver, standing } = this.options
    return new Settlement(partition, resolver, standing)
  }

  private begin(request: WithdrawRequest): MadeWithdrawal | 'waiting' {
    const madeAtMs = Math.floor(this.options.environment.clock.wallMs())
    const outcome = this.settlement.withdraw({ ...request, madeAtMs }, this.nowMs())
    const { amount, id, item } = request
    switch (outcome.type) {
      case 'insufficient-quantity':
        throw new InsufficientQuantityError(BigInt(amount), BigInt(outcome.visible), item)
      case 'overloaded':
        throw new OverloadedError('too many withdrawals wait for rights')
      case 'waiting':
        this.carryOut()
        return 'waiting'
      case 'backed':
        return this.made(id, 'backed')
      case 'provisional': {
        const made = this.made(id, 'provisional')
        this.carryOut()
        return made
      }
    }
  }

  private made(id: string, kind: MadeWithdrawal['kind']): MadeWithdrawal {
    const settled = new Milestone<Settled>()
    if (kind === 'backed') settled.reach('confirmed')
    else this.milestones.set(id, settled)
    return { id, kind, settled, group: this.options.groupOf(this.options.partition) }
  }

  /** Effects follow the own writes made before them, and only once these are durable. */
  private carryOut(): void {
    const { groupOf, partition } = this.options
    // Renewals have no effect that anybody waits for, yet are to be written.
    if (partition.own.openGeneration.length > 0) groupOf(partition)
    const effects = this.settlement.takeEffects()
    if (effects.length === 0) return
    const urgent = effects.filter(({ type }) => URGENT.has(type))
    const others = effects.filter(({ type }) => !URGENT.has(type))
    for (const effect of urgent) this.perform(effect)
    if (others.length === 0) return
    const group = groupOf(partition)
    // A full disk takes them in the end, and then they are to be told (invariant W11).
    group.durable.waitOut().then(
      () => {
        for (const effect of others) this.perform(effect)
      },
      // The journal failed or the node stops: the cells say at the next start what is to be told.
      () => undefined,
    )
  }

  private perform(effect: Effect): void {
    if (this.stopped) return
    const { options } = this
    switch (effect.type) {
      case 'borrow':
        options.send(effect.to, encodeMessage(asksToTuple(options.partition.name, this.self, effect.asks)))
        return
      case 'answer':
        options.send(
          effect.to,
          encodeMessage(answersToTuple(options.partition.name, this.self, effect.answers)),
        )
        return
      case 'withdrawn':
        this.settleWaiter(effect.id, ({ resolve }) => resolve(this.made(effect.id, 'backed')))
        return
      case 'refused': {
        const { quantity, ownRights, rights } = effect.shortage
        const holders = rightsHolders(rights, options.partition.ownReplica.replica)
        this.settleWaiter(effect.id, ({ amount, place, reject }) =>
          reject(
            new InsufficientRightsError(
              place.item,
              BigInt(amount),
              BigInt(quantity),
              BigInt(ownRights),
              holders,
            ),
          ),
        )
        return
      }
      case 'parked':
        options.onParked(effect.withdrawal)
        return
      case 'settled':
        this.tellSettled(effect.withdrawal)
    }
  }

  private tellSettled(withdrawal: ProvisionalWithdrawal): void {
    const { id, state } = withdrawal
    const milestone = this.milestones.get(id)
    this.milestones.delete(id)
    const outcome = outcomeOf(state)
    if (!outcome) return
    milestone?.reach(outcome)
    this.options.onSettled({ ...withdrawal, state: outcome })
    // One that was acknowledged already, as peers have told after a restore, is not told to be taken back.
    if (state === 'compensated') this.options.onCompensated(withdrawal)
  }

  private settleWaiter(id: string, settle: (waiter: Waiter) => void): void {
    const waiter = this.waiters.get(id)
    if (!waiter) return
    this.waiters.delete(id)
    settle(waiter)
  }

  private runSoon(): void {
    if (this.running || this.stopped) return
    this.running = true
    this.options.environment.scheduler.soon(() => {
      this.running = false
      if (this.stopped) return
      if (this.settlement.run(this.nowMs(), ITEMS_PER_TURN)) this.runSoon()
      this.carryOut()
    })
  }

  private scheduleTick(): void {
    this.timer = this.options.environment.scheduler.after(TICK_MS, () => {
      if (this.stopped) return
      this.scheduleTick()
      this.settlement.tick(this.nowMs())
      this.carryOut()
      this.runSoon()
    })
  }

  private get self(): ReplicaId {
    return this.options.partition.ownReplica.replica
  }

  /** About the wall time, but steady: neither timeouts nor rates follow a clock that is set. */
  private nowMs(): number {
    return Math.floor(this.startWallMs + this.options.environment.clock.monotonicMs() - this.startMs)
  }
}

/** Ids of withdrawals order them in time: the lower one wins a conflict. */
export function withdrawalId(environment: Environment): string {
  return uuidV7(environment)
}

function reached(settled: Settled): Milestone<Settled> {
  const milestone = new Milestone<Settled>()
  milestone.reach(settled)
  return milestone
}
