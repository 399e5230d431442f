import type { AppendFile } from '../../environment/environment.js'
import { Replicator } from '../../gossip/replicator.js'
import { DurableState } from '../../node/durable-state.js'
import { Replay } from '../../node/replay.js'
import { ProcessDisk } from '../disk/process-disk.js'
import { override } from '../override.js'
import type { Mutant } from './mutant.js'

const gossipBeforePersist: Mutant = {
  name: 'gossip-before-persist',
  invariant: 'J1',
  withinSeeds: 80,
  apply(run) {
    run.atCleanUp(
      override(ProcessDisk.prototype, 'openAppend', (original) => {
        return async function (this: ProcessDisk, path) {
          const file = await original.call(this, path)
          return path.endsWith('.log') ? withoutSync(file) : file
        }
      }),
    )
  },
}

/** Says that it is durable as soon as the system has it. */
function withoutSync(file: AppendFile): AppendFile {
  return {
    get size() {
      return file.size
    },
    append: (chunks) => file.append(chunks, { durable: false }),
    truncate: (size) => file.truncate(size),
    close: () => file.close(),
  }
}

const acknowledgeBeforePersist: Mutant = {
  name: 'acknowledge-before-persist',
  invariant: 'J3',
  withinSeeds: 120,
  apply(run) {
    run.atCleanUp(
      override(Replicator.prototype, 'onDelta', (original) => {
        return function (this: Replicator, peer, tuple, bytes) {
          original.call(this, peer, tuple, bytes)
          this.durable(Number.MAX_SAFE_INTEGER)
        }
      }),
    )
  },
}

const replaySkipsTail: Mutant = {
  name: 'replay-skips-the-last-record',
  invariant: 'J3',
  withinSeeds: 40,
  apply(run) {
    const held = new WeakMap<Replay, Uint8Array>()
    run.atCleanUp(
      override(Replay.prototype, 'take', (original) => {
        return function (this: Replay, record) {
          const before = held.get(this)
          held.set(this, record.slice())
          if (before !== undefined) original.call(this, before)
        }
      }),
    )
  },
}

const incarnationReused: Mutant = {
  name: 'incarnation-reused-after-a-restored-backup',
  invariant: 'I2',
  withinSeeds: 120,
  apply(run) {
    run.atCleanUp(
      override(DurableState.prototype, 'takeNewIncarnation', () => {
        return function (this: DurableState) {
          return Promise.resolve(this.incarnation)
        }
      }),
    )
  },
}

const backupNotNoticed: Mutant = {
  name: 'numbers-before-the-peers-were-heard',
  invariant: 'I2',
  withinSeeds: 150,
  apply(run) {
    // Whoever may have lost writes of its own starts numbering at once instead of asking the others first.
    run.onRunning((_, node) => {
      const { core } = node as unknown as { core: { durables: DurableState } }
      core.durables.committer.openNumbering()
    })
  },
}

export const durabilityMutants: readonly Mutant[] = [
  gossipBeforePersist,
  acknowledgeBeforePersist,
  replaySkipsTail,
  incarnationReused,
  backupNotNoticed,
]
