import type { LedgerLine } from '../../ledger/entry.js'
import { Ledger } from '../../ledger/ledger.js'
import { OperationRecorder } from '../../node/operation-recorder.js'
import type { WriteGroup } from '../../node/write-group.js'
import type { Mutant } from './mutant.js'

interface Recorder {
  readonly ledger: Ledger
  take(group: WriteGroup): readonly LedgerLine[]
  follow(group: WriteGroup): void
}

/** Defects of the ledger: lines that are not true, and lines that are missing. */
export const ledgerMutants: readonly Mutant[] = [
  {
    name: 'a-line-is-written-before-its-operation-is-durable',
    // Slow disks, and power cuts at the worst moments.
    workload: 'grant-hunt',
    invariant: 'G1',
    // Its operation counts as acknowledged from then on.
    alsoInvariants: ['C1', 'W12'],
    withinSeeds: 60,
    apply(run) {
      const recorder = OperationRecorder.prototype as unknown as Recorder
      run.override<Recorder, 'follow'>(recorder, 'follow', () => {
        return function (this: Recorder, group) {
          queueMicrotask(() => {
            for (const line of this.take(group)) this.ledger.record(line)
          })
        }
      })
    },
  },
  {
    name: 'a-line-is-lost-now-and-then',
    workload: 'withdrawals',
    invariant: 'G2',
    withinSeeds: 20,
    apply(run) {
      let lines = 0
      run.override(Ledger.prototype, 'record', (original) => {
        return function (this: Ledger, line) {
          if (++lines % 50 !== 0) original.call(this, line)
        }
      })
    },
  },
]
