import type { MessageQueue } from '../../link/message-queue.js'
import { Outbound } from '../../link/outbound.js'
import { LevelWaiters } from '../../node/levels.js'
import { Publications } from '../../node/publications.js'
import { Receipt } from '../../node/receipt.js'
import { Storage } from '../../node/storage.js'
import type { Mutant } from './mutant.js'

const unboundedQueue: Mutant = {
  name: 'unbounded-bulk-queue',
  invariant: 'Q1',
  withinSeeds: 60,
  workload: 'flood',
  apply(run) {
    run.override(Outbound.prototype, 'sendBulk', () => {
      return function (this: Outbound, message) {
        const { bulk, closed } = this as unknown as { bulk: MessageQueue; closed: boolean }
        if (closed) return false
        bulk.push(message)
        queueMicrotask(() => this.flush())
        return true
      }
    })
  },
}

const depositCountedTwice: Mutant = {
  name: 'deposit-counted-twice-now-and-then',
  invariant: 'C1',
  withinSeeds: 10,
  apply(run) {
    let calls = 0
    run.override(Storage.prototype, 'deposit', (original) => {
      return function (this: Storage, item, amount) {
        const receipt = original.call(this, item, amount)
        // Later, so that the caller does not see it at once: a retry that takes effect again.
        if (++calls % 20 === 0)
          queueMicrotask(() => original.call(this, item, amount).durable.catch(() => undefined))
        return receipt
      }
    })
  },
}

const acknowledgedTooEarly: Mutant = {
  name: 'durable-resolves-before-the-journal-has-it',
  invariant: 'C1',
  withinSeeds: 150,
  apply(run) {
    const original = Object.getOwnPropertyDescriptor(Receipt.prototype, 'durable')
    if (original === undefined) throw new TypeError('durable is not a getter')
    Object.defineProperty(Receipt.prototype, 'durable', { ...original, get: () => Promise.resolve() })
    run.atCleanUp(() => Object.defineProperty(Receipt.prototype, 'durable', original))
  },
}

const readsLagBehindWrites: Mutant = {
  name: 'reads-do-not-see-own-writes',
  invariant: 'R1',
  withinSeeds: 5,
  apply(run) {
    const before = new WeakMap<Storage, Map<unknown, bigint>>()
    run.override(Storage.prototype, 'quantity', (original) => {
      return function (this: Storage, item) {
        const seen = before.get(this) ?? new Map<unknown, bigint>()
        before.set(this, seen)
        const shown = seen.get(item)
        const now = original.call(this, item)
        if (shown === undefined) seen.set(item, now)
        else seen.delete(item)
        return shown ?? now
      }
    })
  },
}

const noOutcome: Mutant = {
  name: 'a-level-that-is-not-reached-has-no-outcome',
  invariant: 'O1',
  withinSeeds: 40,
  apply(run) {
    run.override(LevelWaiters.prototype, 'reach', (original) => {
      return function (this: LevelWaiters, milestone, level, options) {
        return new Promise((resolve) => {
          original.call(this, milestone, level, options).then(resolve, () => undefined)
        })
      }
    })
  },
}

const unknownError: Mutant = {
  name: 'an-error-without-a-code',
  invariant: 'O2',
  withinSeeds: 10,
  apply(run) {
    run.override(Storage.prototype, 'withdrawNow', (original) => {
      return function (this: Storage, item, amount) {
        try {
          return original.call(this, item, amount)
        } catch {
          throw new TypeError('something went wrong')
        }
      }
    })
  },
}

const unownedPromise: Mutant = {
  name: 'a-promise-without-an-owner',
  invariant: 'N1',
  withinSeeds: 40,
  apply(run) {
    run.override(LevelWaiters.prototype, 'reach', (original) => {
      return function (this: LevelWaiters, milestone, level, options) {
        const reached = original.call(this, milestone, level, options)
        void reached.then(() => undefined)
        return reached
      }
    })
  },
}

const eventLost: Mutant = {
  name: 'an-event-lost-now-and-then',
  invariant: 'E1',
  withinSeeds: 20,
  apply(run) {
    let arrivals = 0
    run.override(Publications.prototype, 'arrived', (original) => {
      return function (this: Publications, entry) {
        if (++arrivals % 10 !== 0) original.call(this, entry)
      }
    })
  },
}

const eventRepeated: Mutant = {
  name: 'an-event-delivered-twice-now-and-then',
  invariant: 'E2',
  withinSeeds: 20,
  apply(run) {
    let arrivals = 0
    run.override(Publications.prototype, 'arrived', (original) => {
      return function (this: Publications, entry) {
        original.call(this, entry)
        if (++arrivals % 10 === 0) original.call(this, entry)
      }
    })
  },
}

export const surfaceMutants: readonly Mutant[] = [
  unboundedQueue,
  depositCountedTwice,
  acknowledgedTooEarly,
  readsLagBehindWrites,
  noOutcome,
  unknownError,
  unownedPromise,
  eventLost,
  eventRepeated,
]
