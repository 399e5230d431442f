import type { Partition } from '../../crdt/partition.js'
import { LevelReads } from '../../gossip/level-reads.js'
import { Budget } from '../../mover/budget.js'
import { Mover } from '../../mover/mover.js'
import { TransferRun } from '../../mover/transfer-run.js'
import { Withdrawals } from '../../node/withdrawals.js'
import type { Mutant } from './mutant.js'

const workload = 'transfers'

/** The deposit comes with the next visit: a crash, or another owner, comes between. */
const halfMove: Mutant = {
  name: 'a-move-in-two-steps',
  invariant: 'T1',
  alsoInvariants: ['T3'],
  withinSeeds: 30,
  workload,
  apply(run) {
    const owed = new WeakMap<object, (() => void)[]>()
    run.override(TransferRun.prototype, 'visit', (original) => {
      return function (this: TransferRun, nowUs, limit) {
        for (const pay of owed.get(this)?.splice(0) ?? []) pay()
        const { partition } = (this as unknown as { ports: { partition: Partition } }).ports
        const { batch } = partition.own
        partition.own.batch = (writes) => {
          const [taken, ...rest] = writes
          batch.call(partition.own, [taken!])
          const later = owed.get(this) ?? []
          owed.set(this, later)
          later.push(() => batch.call(partition.own, rest))
        }
        try {
          const visit = original.call(this, nowUs, limit)
          const isOwing = (owed.get(this)?.length ?? 0) > 0
          return isOwing ? { ...visit, nextUs: nowUs + 250_000 } : visit
        } finally {
          partition.own.batch = batch
        }
      }
    })
  },
}

/** As an owner that believes in what it sees, and not in rights: beside a newer owner, or players elsewhere. */
const withoutRights: Mutant = {
  name: 'a-transfer-moves-without-the-rights',
  invariant: 'T1',
  // Negative rights are looked for in all storages first.
  alsoInvariants: ['W13', 'A1'],
  withinSeeds: 20,
  workload,
  apply(run) {
    run.override(Withdrawals.prototype, 'available', () => {
      return function (this: Withdrawals, entry) {
        const { options } = this as unknown as { options: { partition: Partition } }
        return options.partition.table.total(entry)
      }
    })
  },
}

const savesUp: Mutant = {
  name: 'a-transfer-saves-up-what-it-may-move',
  invariant: 'T2',
  withinSeeds: 20,
  workload,
  apply(run) {
    const target = Budget.prototype as unknown as { most(): number }
    run.override(target, 'most', () => () => Number.MAX_SAFE_INTEGER)
  },
}

const sleeps: Mutant = {
  name: 'a-transfer-sleeps-through-changes',
  invariant: 'T3',
  withinSeeds: 20,
  workload,
  apply(run) {
    run.override(Mover.prototype, 'changed', () => () => undefined)
    run.override(Mover.prototype, 'changedAt', () => () => undefined)
  },
}

const asksNobody: Mutant = {
  name: 'a-read-at-quorum-asks-nobody',
  invariant: 'L1',
  withinSeeds: 20,
  workload: 'reads',
  apply(run) {
    run.override(LevelReads.prototype, 'begin', () => {
      return (read) => read.ready()
    })
  },
}

export const transferMutants: readonly Mutant[] = [halfMove, withoutRights, savesUp, sleeps, asksNobody]
