import type { ReplicaId } from '../sync/identity.js'

/** Where the writes of a group ended up: they are contained in that replica's writes up to `number`. */
export interface WritePosition {
  readonly partition: string
  readonly replica: ReplicaId
  readonly number: number
}

interface MilestoneWaiter<T> {
  readonly resolve: (value: T) => void
  readonly reject: (error: Error) => void
  /** Waits on when a failure is not final. */
  readonly isPatient: boolean
}

/** A promise that exists only once somebody asks: most receipts are never looked at. */
export class Milestone<T> {
  private outcome: { value: T } | { error: Error } | undefined
  private waiters: MilestoneWaiter<T>[] = []

  get reached(): boolean {
    return this.outcome !== undefined && 'value' in this.outcome
  }

  reach(value: T): void {
    if (this.reached) return
    this.outcome = { value }
    for (const { resolve } of this.waiters.splice(0)) resolve(value)
  }

  /** Rejects those who wait now. Unless `final`, later askers wait again, and the patient ones wait on. */
  fail(error: Error, final: boolean): void {
    if (this.outcome) return
    if (final) this.outcome = { error }
    const { waiters } = this
    this.waiters = final ? [] : waiters.filter(({ isPatient }) => isPatient)
    for (const { isPatient, reject } of waiters) if (final || !isPatient) reject(error)
  }

  /** Rejects at the next failure, whether final or not. */
  wait(): Promise<T> {
    return this.promise(false)
  }

  /** Rejects only when it can never be reached any more: for what is to follow however long it takes. */
  waitOut(): Promise<T> {
    return this.promise(true)
  }

  private promise(isPatient: boolean): Promise<T> {
    const { outcome } = this
    if (outcome) return 'value' in outcome ? Promise.resolve(outcome.value) : Promise.reject(outcome.error)
    return new Promise((resolve, reject) => this.waiters.push({ resolve, reject, isPatient }))
  }
}

/**
 * All writes of one flush share their fate: one group of them is what receipts point to, so that a deposit
 * costs one small object.
 */
export class WriteGroup {
  /** The journal holds it (with durability 'memory': it has been applied for good). */
  readonly durable = new Milestone<undefined>()
  /** It has a number and may leave the server. Usually the same moment; later after a restart. */
  readonly numbered = new Milestone<WritePosition>()

  fail(error: Error, final: boolean): void {
    this.durable.fail(error, final)
    this.numbered.fail(error, final)
  }
}
