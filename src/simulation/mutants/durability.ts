import { Replicator } from '../../gossip/replicator.js'
import { Committer } from '../../node/committer.js'
import { DurableState } from '../../node/durable-state.js'
import { Replay } from '../../node/replay.js'
import { coreOf } from '../core-of.js'
import type { Mutant } from './mutant.js'

const gossipBeforePersist: Mutant = {
  name: 'gossip-before-persist',
  invariant: 'J1',
  withinSeeds: 60,
  apply(run) {
    const committer = Committer.prototype as unknown as {
      run(): void
      flight: { position: number } | undefined
    }
    run.override(committer, 'run', (original) => {
      return function (this: typeof committer) {
        original.call(this)
        // The group commit has only been handed over, and counts as done.
        if (this.flight !== undefined) (this as unknown as Committer).durable(this.flight.position)
      }
    })
  },
}

const acknowledgeBeforePersist: Mutant = {
  name: 'acknowledge-before-persist',
  invariant: 'J3',
  withinSeeds: 120,
  apply(run) {
    run.override(Replicator.prototype, 'onDelta', (original) => {
      return function (this: Replicator, peer, tuple, bytes) {
        original.call(this, peer, tuple, bytes)
        this.durable(Number.MAX_SAFE_INTEGER)
      }
    })
  },
}

const replaySkipsTail: Mutant = {
  name: 'replay-skips-the-last-record',
  invariant: 'J3',
  withinSeeds: 40,
  apply(run) {
    const held = new WeakMap<Replay, Uint8Array>()
    run.override(Replay.prototype, 'take', (original) => {
      return function (this: Replay, record) {
        const before = held.get(this)
        held.set(this, record.slice())
        if (before !== undefined) original.call(this, before)
      }
    })
  },
}

const incarnationReused: Mutant = {
  name: 'incarnation-reused-after-a-restored-backup',
  invariant: 'I2',
  withinSeeds: 120,
  apply(run) {
    run.override(DurableState.prototype, 'takeNewIncarnation', () => {
      return function (this: DurableState) {
        return Promise.resolve(this.incarnation)
      }
    })
  },
}

const backupNotNoticed: Mutant = {
  name: 'numbers-before-the-peers-were-heard',
  invariant: 'I2',
  withinSeeds: 150,
  apply(run) {
    // Whoever may have lost writes of its own starts numbering at once instead of asking the others first.
    run.onRunning((_, node) => {
      coreOf(node).durables.committer.openNumbering()
    })
  },
}

const replayRefuses: Mutant = {
  name: 'replay-refuses-writes-that-had-no-number-yet',
  invariant: 'N2',
  withinSeeds: 40,
  apply(run) {
    run.override(Replay.prototype, 'take', (original) => {
      return function (this: Replay, record) {
        original.call(this, record)
        if (this.unnumberedWrites().length > 0) throw new TypeError('an unexpected record')
      }
    })
  },
}

export const durabilityMutants: readonly Mutant[] = [
  gossipBeforePersist,
  acknowledgeBeforePersist,
  replaySkipsTail,
  replayRefuses,
  incarnationReused,
  backupNotNoticed,
]
