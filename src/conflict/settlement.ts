import { CellKind } from '../crdt/cell.js'
import { addQuantities, subtractQuantities } from '../crdt/column.js'
import { MAX_BATCH_WRITES } from '../crdt/limits.js'
import type { OwnWrite } from '../crdt/own-writes.js'
import type { Partition } from '../crdt/partition.js'
import { outcomeOf, type ProvisionalState, type ProvisionalWithdrawal } from '../crdt/provisional.js'
import { lesser, notNegative, type Quantity } from '../crdt/rights.js'
import type { ReplicaId } from '../sync/identity.js'
import { ActiveItems } from './active-items.js'
import { Debts } from './debts.js'
import { type BorrowAnswer, type BorrowAsk, type Effect, EffectQueue, type Shortage } from './effects.js'
import type { ItemState } from './item-state.js'
import { chooseLosers } from './overdraw.js'
import { ProvisionalIndex } from './provisional-index.js'
import { fillReserve, spareRights } from './reserves.js'
import { type ConflictResolver, lowerIdResolver, requiresPerson } from './resolver.js'
import { type Standing, UNDISPUTED } from './standing.js'
import type { Beside, WithdrawOutcome, WithdrawRequest } from './withdraw-request.js'

export type { WithdrawOutcome, WithdrawRequest } from './withdraw-request.js'

/** After so long a conflict is decided by the order of ids, whatever resolvers say. */
export const RESOLVER_PATIENCE_MS = 10_000
/** Backed withdrawals waiting for rights, per partition. */
export const MAX_WAITING = 10_000

/**
 * Withdrawals of one partition: backed by rights at once, or provisional and settled later (design section 4).
 * A pure state machine: calls and time come in, own writes go into the partition, effects come out.
 *
 * Everything that must survive a crash is in cells. A compensation is one batch: the counter's `compensated`
 * total and the closed provisional cell; so it happens exactly once, and only its own server makes it
 * (invariants W3, W5). The state here is rebuilt from the cells by the constructor. While the server cannot be
 * certain of its own writes nothing is backed, granted or settled (invariant W7).
 *
 * Its driver (one per partition, in src/node)
 * - constructs it after `writeAs`, again after each change of incarnation, and before `removeExpired`;
 * - tells `changed` from the partition's change listener, and calls `run` afterwards, on its own turn, in
 *   slices, until it returns false; calls `tick` about ten times a second; sets `reachable`;
 * - takes the effects after each call and carries out 'answer', 'settled' and 'parked' when the flush of the own
 *   writes made so far has landed, the others at once; 'borrow' and 'answer' go to the server of that replica,
 *   which calls `borrowAsked` and `borrowAnswered`. Any of these messages may be lost, repeated or late;
 * - tells the application of compensations, and again those in `unacknowledged()` after a start.
 */
export class Settlement {
  readonly index: ProvisionalIndex
  private readonly debts: Debts
  private readonly items: ActiveItems
  private readonly dirty = new Set<number>()
  private readonly effects = new EffectQueue()
  private reachable: ReadonlySet<ReplicaId> = new Set()
  /** Items with waiting withdrawals. */
  private readonly waited = new Set<number>()
  private waitingCount = 0

  constructor(
    private readonly partition: Partition,
    private readonly resolver: ConflictResolver = lowerIdResolver,
    private readonly standing: Standing = UNDISPUTED,
  ) {
    this.index = new ProvisionalIndex(partition)
    this.items = new ActiveItems(partition)
    this.debts = new Debts(partition, this.index, standing)
    for (const item of this.index.items()) this.dirty.add(item)
  }

  /** Takes `amount` when the own rights cover it; otherwise nothing happens. Costs no more than a deposit. */
  tryWithdraw(entry: number, amount: Quantity, beside?: Beside): boolean {
    if (!this.standing.isCertain() || this.partition.own.rights(entry) < amount) return false
    this.takeOut(entry, amount, beside)
    this.items.took(entry, amount)
    return true
  }

  withdraw(request: WithdrawRequest, nowMs: number): WithdrawOutcome {
    const { amount, id, mode, untilMs, storage, item, beside } = request
    const entry = this.index.itemEntry(request)
    if (this.tryWithdraw(entry, amount, beside)) return { type: 'backed' }
    const visible = this.debts.attainable(entry)
    if (visible < amount) return { type: 'insufficient-quantity', visible }
    const state = this.items.of(entry, nowMs)
    state.demand.add(amount, nowMs)
    if (mode === 'backed') {
      if (this.waitingCount >= MAX_WAITING) return { type: 'overloaded' }
      state.waiting.push({ id, amount, untilMs, beside })
      this.waited.add(entry)
      this.waitingCount += 1
      this.evaluate(entry, nowMs)
      return { type: 'waiting' }
    }
    const replica = this.partition.ownReplica.replica
    const { madeAtMs = nowMs } = request
    const withdrawal = { id, replica, storage, item, amount, madeAtMs, state: 'open' } as const
    const writes = [{ entry, withdrawn: amount }, this.index.write(withdrawal, nowMs)]
    this.partition.own.batch(beside ? [...writes, beside()] : writes)
    this.evaluate(entry, nowMs)
    return { type: 'provisional', withdrawal }
  }

  /** Rights of this server that a withdrawal may use now; negative is a debt. */
  spendable(entry: number): Quantity {
    return this.debts.spendable(entry)
  }

  /** A merge has changed this entry. Only takes note, for `run`. */
  changed(entry: number): void {
    const { kind } = this.partition.table.namespaceOf(entry)
    if (kind === CellKind.provisional) {
      const before = this.index.find(this.partition.table.keyOf(entry))
      const found = this.index.read(entry)
      if (!found) return
      this.dirty.add(found.item)
      this.tellIfSettledBefore(found.withdrawal, before)
    } else if (kind === CellKind.counter && this.concerns(entry)) this.dirty.add(entry)
  }

  /** News of how a former incarnation had settled a withdrawal: the application may not have heard. */
  private tellIfSettledBefore(
    withdrawal: ProvisionalWithdrawal,
    before: ProvisionalWithdrawal | undefined,
  ): void {
    const outcome = outcomeOf(withdrawal.state)
    const isNews = before ? outcomeOf(before.state) !== outcome : withdrawal.state === 'compensated'
    if (outcome && isNews && this.index.isOwn(withdrawal)) this.effects.add({ type: 'settled', withdrawal })
  }

  /** Settles what changes have made possible, at most `limit` items. Returns whether there is more. */
  run(nowMs: number, limit: number): boolean {
    for (const entry of this.dirty) {
      if (limit-- <= 0) return true
      this.dirty.delete(entry)
      this.evaluate(entry, nowMs)
    }
    return false
  }

  /** Timeouts, repeated requests, reserves. */
  tick(nowMs: number): void {
    if (this.standing.isCertain()) this.renew(nowMs)
    for (const entry of this.index.items()) this.dirty.add(entry)
    for (const entry of this.waited) {
      const state = this.items.get(entry)!
      this.refuseLate(entry, state, nowMs)
      if (state.waiting.length === 0) this.waited.delete(entry)
      else this.dirty.add(entry)
    }
    this.items.tick(nowMs)
    this.sweepItems(nowMs)
  }

  /** Another server asks for rights. Answers with the total granted to it, whether that has grown or not. */
  borrowAsked(from: ReplicaId, ask: BorrowAsk, nowMs: number): void {
    const { own } = this.partition
    const entry = this.index.itemEntry(ask)
    const total = own.grantedTotal(entry, from)
    const wanted = subtractQuantities(ask.target, total)
    const reserve = this.items.get(entry)?.demand.reserve(nowMs) ?? 0
    const spare = spareRights(this.spendable(entry), this.available(entry), ask.purpose, reserve)
    const amount = lesser(wanted, spare)
    if (amount > 0 && own.canGrant(entry, from)) own.grant(entry, from, amount)
    this.effects.answer(from, {
      storage: ask.storage,
      item: ask.item,
      purpose: ask.purpose,
      total: own.grantedTotal(entry, from),
    })
  }

  borrowAnswered(from: ReplicaId, answer: BorrowAnswer, nowMs: number): void {
    const entry = this.index.itemEntry(answer)
    this.items.get(entry)?.borrowing(answer.purpose).answered(from, answer.total, nowMs)
    if (this.concerns(entry)) this.evaluate(entry, nowMs)
  }

  /** The replicas that requests reach at present. */
  setReachable(replicas: ReadonlySet<ReplicaId>): void {
    this.reachable = replicas
    for (const entry of this.index.items()) this.dirty.add(entry)
  }

  /** A provisional withdrawal as its cells say, whoever made it; undefined when there is none of that id. */
  withdrawal(storage: string, id: string): ProvisionalWithdrawal | undefined {
    return this.index.lookup(storage, id)
  }

  /** Rights that no withdrawal under way waits for. */
  available(entry: number): Quantity {
    let rights = this.spendable(entry)
    for (const { amount } of this.items.get(entry)?.waiting ?? []) rights = subtractQuantities(rights, amount)
    return rights
  }

  /** So many wait here for rights, in no hurry, and say so again: attracts rights as withdrawals do. */
  wanted(entry: number, amount: Quantity, nowMs: number): void {
    this.items.of(entry, nowMs).demand.keep(amount, nowMs)
  }

  /** So many were taken out within the own rights by a batch of somebody else's. */
  took(entry: number, amount: Quantity): void {
    this.items.took(entry, amount)
  }

  /** Whether this server made it, in whichever incarnation, so that it will tell how it ends. */
  isOwn(withdrawal: ProvisionalWithdrawal): boolean {
    return this.index.isOwn(withdrawal)
  }

  /** Own withdrawals that wait for a person. */
  parked(): ProvisionalWithdrawal[] {
    return [...this.index.unfinished()].filter(({ state }) => state === 'parked')
  }

  /** Compensated for good, and the application has not said yet that it knows. */
  unacknowledged(): ProvisionalWithdrawal[] {
    return [...this.index.unfinished()].filter(
      (withdrawal) => withdrawal.state === 'compensated' && !this.index.isUnderWay(withdrawal),
    )
  }

  /** The application has taken note of a compensation. Returns false when there is none of that id. */
  acknowledge(id: string, nowMs: number): boolean {
    const withdrawal = this.index.find(id)
    if (withdrawal?.state !== 'compensated') return false
    const { entry, object } = this.index.write({ ...withdrawal, state: 'acknowledged' }, nowMs)
    this.partition.own.setObject(entry, object!)
    return true
  }

  /**
   * A person decides a parked case: 'compensate' takes it back; 'keep' lets it stand and writes off, as a
   * deposit, what is missing for it. 'not-yet': own writes may be missing here. 'unknown': no such case is parked.
   */
  decide(id: string, decision: 'compensate' | 'keep', nowMs: number): 'decided' | 'not-yet' | 'unknown' {
    const withdrawal = this.index.find(id)
    if (withdrawal?.state !== 'parked') return 'unknown'
    if (!this.standing.isCertain() || !this.debts.maySettle(withdrawal)) return 'not-yet'
    const entry = this.index.itemEntry(withdrawal)
    if (decision === 'compensate') this.compensate(entry, withdrawal, nowMs)
    else {
      const { amount, replica } = withdrawal
      const missing = lesser(this.debts.of(entry, replica), amount)
      this.close(withdrawal, 'kept', this.debts.repay(entry, replica, missing, 'deposited'), nowMs)
    }
    this.evaluate(entry, nowMs)
    return 'decided'
  }

  shortage(entry: number): Shortage {
    const rights = this.partition.rightsOf(entry)
    return {
      quantity: notNegative(this.partition.table.total(entry)),
      ownRights: this.partition.own.rights(entry),
      rights,
    }
  }

  takeEffects(): Effect[] {
    return this.effects.take()
  }

  /** An event has only changed state; here is decided what follows from it. */
  private evaluate(entry: number, nowMs: number): void {
    if (!this.standing.isCertain()) return
    this.confirmCovered(entry, nowMs)
    this.compensateLosers(entry, nowMs)
    // What a compensation gave back may cover others.
    this.confirmCovered(entry, nowMs)
    this.makeWaiting(entry)
    this.borrow(entry, nowMs)
  }

  /** Confirms, lowest ids first, what the rights that are here now cover. */
  private confirmCovered(entry: number, nowMs: number): void {
    if (this.index.undecided(entry).length === 0) return
    this.debts.coverFormer(entry)
    for (const [maker, made] of this.debts.undecided(entry)) {
      let covered: Quantity = -this.debts.of(entry, maker)
      for (const { amount } of made) covered = addQuantities(covered, amount)
      for (const withdrawal of made) {
        covered = subtractQuantities(covered, withdrawal.amount)
        if (covered < 0) break
        this.close(withdrawal, 'confirmed', undefined, nowMs)
      }
    }
  }

  private compensateLosers(entry: number, nowMs: number): void {
    const overdraw = this.debts.overdraw(entry)
    const state = overdraw > 0 ? this.items.of(entry, nowMs) : this.items.get(entry)
    if (!state) return
    if (overdraw === 0) {
      state.overdrawnSinceMs = undefined
      return
    }
    state.overdrawnSinceMs ??= nowMs
    const isPatient = nowMs - state.overdrawnSinceMs < RESOLVER_PATIENCE_MS
    const resolver = isPatient ? this.resolver : lowerIdResolver
    const { losers, strongest } = chooseLosers(this.index.undecided(entry), resolver, {
      ...state.place,
      overdraw,
    })
    for (const loser of losers) {
      if (!this.debts.maySettle(loser) || loser.state === 'parked') continue
      const rival = strongest && losers.includes(strongest) ? undefined : strongest
      if (requiresPerson(this.resolver, loser, rival)) this.close(loser, 'parked', undefined, nowMs)
      else this.compensate(entry, loser, nowMs)
    }
  }

  private compensate(entry: number, loser: ProvisionalWithdrawal, nowMs: number): void {
    const counter = this.debts.repay(entry, loser.replica, loser.amount, 'compensated')
    if (counter) this.close(loser, 'compensated', counter, nowMs)
  }

  /** Brings a withdrawal into another state, in one batch with what that does to the counter. */
  private close(
    withdrawal: ProvisionalWithdrawal,
    state: ProvisionalState,
    counter: OwnWrite | undefined,
    nowMs: number,
  ): void {
    const closed = { ...withdrawal, state }
    const write = this.index.write(closed, nowMs)
    this.partition.own.batch(counter ? [counter, write] : [write])
    this.effects.add({ type: state === 'parked' ? 'parked' : 'settled', withdrawal: closed })
  }

  private takeOut(entry: number, amount: Quantity, beside: Beside | undefined): void {
    if (beside) this.partition.own.batch([{ entry, withdrawn: amount }, beside()])
    else this.partition.own.withdraw(entry, amount)
  }

  private makeWaiting(entry: number): void {
    const waiting = this.items.get(entry)?.waiting
    while (waiting && waiting.length > 0 && this.partition.own.rights(entry) >= waiting[0]!.amount) {
      const { id, amount, beside } = waiting.shift()!
      this.waitingCount -= 1
      this.takeOut(entry, amount, beside)
      this.effects.add({ type: 'withdrawn', id })
    }
  }

  private refuseLate(entry: number, { waiting }: ItemState, nowMs: number): void {
    for (let place = waiting.length - 1; place >= 0; place--) {
      if (waiting[place]!.untilMs > nowMs) continue
      const { id } = waiting[place]!
      waiting.splice(place, 1)
      this.waitingCount -= 1
      this.effects.add({ type: 'refused', id, shortage: this.shortage(entry) })
    }
  }

  private borrow(entry: number, nowMs: number): void {
    let need = this.debts.missing(entry)
    for (const { amount } of this.items.get(entry)?.waiting ?? []) need = addQuantities(need, amount)
    if (need <= 0) return
    this.items.of(entry, nowMs).borrowing('debt').ask(need, this.reachable, nowMs, this.effects)
  }

  private renew(nowMs: number): void {
    const renewals = this.index.renewals(nowMs, MAX_BATCH_WRITES)
    for (const { entry, object } of renewals) this.partition.own.setObject(entry, object!)
  }

  /** Asks for reserves, forgets what is idle. */
  private sweepItems(nowMs: number): void {
    this.items.visitSome((entry, state) => {
      state.expire(nowMs)
      if (state.isIdle(nowMs) && this.index.undecided(entry).length === 0) return false
      if (this.standing.isCertain())
        fillReserve(this.partition.own.rights(entry), state, this.reachable, nowMs, this.effects)
      return true
    })
  }

  private concerns(entry: number): boolean {
    if (this.items.has(entry) || this.partition.own.rights(entry) < 0) return true
    return this.index.undecided(entry).length > 0
  }
}
