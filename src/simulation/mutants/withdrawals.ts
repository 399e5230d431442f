import { Borrowing } from '../../conflict/borrowing.js'
import { Debts } from '../../conflict/debts.js'
import type { ItemPlace } from '../../conflict/effects.js'
import { ItemState } from '../../conflict/item-state.js'
import { Settlement } from '../../conflict/settlement.js'
import type { Standing } from '../../conflict/standing.js'
import type { Beside } from '../../conflict/withdraw-request.js'
import { CellKind } from '../../crdt/cell.js'
import { CellTable } from '../../crdt/cell-table.js'
import { addQuantities } from '../../crdt/column.js'
import { type Generation, OwnWrites } from '../../crdt/own-writes.js'
import type { Partition } from '../../crdt/partition.js'
import { notNegative, type Quantity } from '../../crdt/rights.js'
import { Committer } from '../../node/committer.js'
import { NamedOperations } from '../../node/named-operations.js'
import { OperationLog } from '../../node/operation-log.js'
import { Settlements } from '../../node/settlements.js'
import { Withdrawals } from '../../node/withdrawals.js'
import type { Run } from '../run/run.js'
import type { Mutant } from './mutant.js'

/** A method that is private to its class. */
type Methods = Record<string, (...args: never[]) => unknown>

/** Replaces a method whose name the type checker hides. */
function replace(
  run: Run,
  target: object,
  name: string,
  // biome-ignore lint/suspicious/noExplicitAny: what a private method takes cannot be named from outside
  create: (original: (...args: any[]) => any) => (this: any, ...args: any[]) => any,
): void {
  run.override(target as Methods, name, create as never)
}

function mutant(
  name: string,
  invariant: string,
  withinSeeds: number,
  apply: (run: Run) => void,
  alsoInvariants: readonly string[] = [],
): Mutant {
  return { name, invariant, alsoInvariants, withinSeeds, workload: 'withdrawals', apply }
}

/** What every node of the run believes of itself and of others is changed. */
function misjudges(run: Run, change: Partial<Standing>): void {
  replace(run, Settlements.prototype, 'create', (original) => {
    return function (partition: Partition) {
      const { standing } = this.options
      const options = { ...this.options, standing: (of: Partition) => ({ ...standing(of), ...change }) }
      return original.call({ ...this, options }, partition)
    }
  })
}

type Entry = { readonly partition: Partition }

const rightsMutants: readonly Mutant[] = [
  mutant(
    'a-backed-withdrawal-may-overdraw',
    'W13',
    30,
    (run) => {
      replace(run, Settlement.prototype, 'tryWithdraw', (original) => {
        return function (this: Entry, entry: number, amount: Quantity, beside?: Beside) {
          const { own, table } = this.partition
          if (own.rights(entry) >= amount || table.total(entry) < amount)
            return original.call(this, entry, amount, beside)
          own.batch([{ entry, withdrawn: amount }, ...(beside ? [beside()] : [])])
          return true
        }
      })
    },
    ['C2', 'W9'],
  ),
  mutant('a-grant-to-oneself-mints-rights', 'W13', 30, (run) => {
    replace(run, Settlement.prototype, 'tryWithdraw', (original) => {
      return function (this: Entry, entry: number, amount: Quantity, ...rest: unknown[]) {
        const { own, table } = this.partition
        const missing = Number(amount) - Number(own.rights(entry))
        // T[i][i], counted where it arrives and not where it leaves.
        if (missing > 0 && table.total(entry) >= amount) table.addRightsElsewhere(entry, -missing)
        return original.call(this, entry, amount, ...rest)
      }
    })
  }),
  mutant(
    'a-donor-keeps-what-it-grants',
    'W13',
    20,
    (run) => {
      run.override(CellTable.prototype, 'addRightsElsewhere', (original) => {
        return function (this: CellTable, entry, amount) {
          if (amount < 0) original.call(this, entry, amount)
        }
      })
    },
    ['A1', 'W4'],
  ),
  mutant('a-request-that-comes-again-grants-again', 'W15', 60, (run) => {
    run.override(Settlement.prototype, 'borrowAsked', (original) => {
      return function (this: Settlement, from, ask, nowMs) {
        const { own } = (this as unknown as Entry).partition
        const granted = own.grantedTotal(entryOf(this, ask), from)
        original.call(this, from, { ...ask, target: addQuantities(ask.target, granted) }, nowMs)
      }
    })
  }),
  mutant('requests-for-rights-never-expire', 'W9', 150, (run) => {
    run.override(Borrowing.prototype, 'expire', () => {
      return () => undefined
    })
  }),
  mutant(
    'a-waiting-withdrawal-is-forgotten-with-its-item',
    'N1',
    60,
    (run) => {
      run.override(ItemState.prototype, 'isIdle', (original) => {
        return function (this: ItemState, nowMs) {
          return this.waiting.length > 0 || original.call(this, nowMs)
        }
      })
    },
    ['O1'],
  ),
]

/** Grants of servers that lose their power before their disk has them. */
const persistenceMutants: readonly Mutant[] = [
  {
    // Without this, whoever receives a grant may spend what the donor has again after a crash.
    name: 'rights-are-spent-before-they-are-persisted',
    invariant: 'J1',
    alsoInvariants: ['J3', 'W13'],
    withinSeeds: 40,
    workload: 'grant-hunt',
    apply(run) {
      replace(run, Committer.prototype, 'run', (original) => {
        return function () {
          original.call(this)
          const numbered: readonly { flush: { generation: Generation } }[] = this.flight?.numbered ?? []
          const grants = numbered.some(({ flush }) => flush.generation.some(({ granted }) => granted))
          if (grants) this.durable(this.flight.position)
        }
      })
    },
  },
  {
    name: 'a-grant-is-answered-before-it-is-journalled',
    invariant: 'J1',
    withinSeeds: 40,
    workload: 'grant-hunt',
    apply(run) {
      replace(run, Withdrawals.prototype, 'carryOut', (original) => {
        return function () {
          const { effects } = this.settlement
          for (const effect of effects.take()) {
            if (effect.type === 'answer') this.perform(effect)
            else effects.add(effect)
          }
          original.call(this)
        }
      })
    },
  },
]

const GIVEN_BACK_LATER_MS = 1_000

const settlementMutants: readonly Mutant[] = [
  mutant('every-server-compensates-a-loser', 'W5', 40, (run) => {
    replace(run, Debts.prototype, 'maySettle', () => () => true)
  }),
  mutant(
    'a-compensation-is-forgotten-in-a-crash',
    'W3',
    80,
    (run) => {
      // The withdrawal is closed at once, the items come back a while later: two writes instead of one batch.
      replace(run, Settlement.prototype, 'close', (original) => {
        return function (withdrawal, state, counter, nowMs) {
          if (state !== 'compensated') return original.call(this, withdrawal, state, counter, nowMs)
          original.call(this, withdrawal, state, undefined, nowMs)
          const server = run.cluster.servers[run.cluster.kernel.owner?.server ?? 0]!
          const { generation } = server
          run.cluster.after(GIVEN_BACK_LATER_MS, () => {
            run.cluster.within(server, () => {
              if (server.generation === generation) this.partition.own.batch([counter])
            })
          })
        }
      })
    },
    ['W13', 'C1', 'W4'],
  ),
  mutant('a-compensation-is-told-once', 'W11', 120, (run) => {
    replace(run, Settlements.prototype, 'tellAgain', () => () => undefined)
  }),
  mutant('an-acknowledged-compensation-is-told-again', 'W11', 120, (run) => {
    run.override(Settlement.prototype, 'acknowledge', () => {
      return function (this: Settlement, id) {
        return this.unacknowledged().some((withdrawal) => withdrawal.id === id)
      }
    })
  }),
  {
    ...mutant('a-partial-view-compensates', 'W4', 10, (run) => {
      run.override(Debts.prototype, 'overdraw', () => {
        return function (this: Debts, entry) {
          return notNegative(-(this as unknown as Entry).partition.table.total(entry))
        }
      })
    }),
    workload: 'partial-view-hunt',
  },
  mutant(
    'confirmed-without-cover',
    'W13',
    30,
    (run) => {
      run.override(Debts.prototype, 'of', () => () => 0)
    },
    ['C2'],
  ),
  mutant(
    'settles-and-spends-before-it-is-certain',
    'W7',
    150,
    (run) => {
      misjudges(run, { isCertain: () => true })
    },
    ['W13', 'W8', 'C1'],
  ),
  {
    ...mutant('former-withdrawals-are-settled-before-all-is-known', 'W6', 40, (run) => {
      misjudges(run, { knowsFormer: () => true })
    }),
    // Servers that come back with nothing while others cannot be asked.
    weather: { wipe: 4, partition: 8, crash: 6 },
  },
  mutant('former-withdrawals-stay-open', 'W9', 60, (run) => {
    misjudges(run, { knowsFormer: () => false })
  }),
  mutant('rights-of-former-incarnations-are-waited-for', 'W9', 60, (run) => {
    misjudges(run, { isSuperseded: () => false })
  }),
]

const onceMutants: readonly Mutant[] = [
  mutant(
    'an-operation-id-is-forgotten-at-a-restart',
    'W12',
    60,
    (run) => {
      run.override(OperationLog.prototype, 'find', (original) => {
        const seen = new WeakMap<OperationLog, Set<string>>()
        return function (this: OperationLog, storage, operationId, content) {
          const known = seen.get(this) ?? new Set()
          seen.set(this, known)
          const isOld = !known.has(operationId)
          known.add(operationId)
          return isOld ? undefined : original.call(this, storage, operationId, content)
        }
      })
    },
    ['C1'],
  ),
  mutant(
    'an-id-that-waits-is-taken-up-in-another-way',
    'W12',
    60,
    (run) => {
      run.override(NamedOperations.prototype, 'alone', () => {
        return (_call, work) => work()
      })
    },
    ['C1'],
  ),
  mutant(
    'a-batch-is-written-in-pieces',
    'W14',
    150,
    (run) => {
      run.override(OwnWrites.prototype, 'batch', (original) => {
        return function (this: OwnWrites, writes) {
          for (const write of writes) {
            original.call(this, [write])
            ;(this as unknown as { seal(): void }).seal()
          }
        }
      })
    },
    ['C1', 'W3', 'W8', 'W13', 'W12'],
  ),
]

export const withdrawalMutants: readonly Mutant[] = [
  ...rightsMutants,
  ...persistenceMutants,
  ...settlementMutants,
  ...onceMutants,
]

function entryOf(settlement: Settlement, { item, storage }: ItemPlace): number {
  const { table } = (settlement as unknown as Entry).partition
  return table.entry(table.namespace(CellKind.counter, storage), item)
}
