import type { Mutations } from '../../raft/mutations.js'
import type { RaftOptions } from '../../raft/options.js'
import { joining } from '../../raft/raft-node.js'
import type { NodeId } from '../../raft/types.js'
import { Locks } from '../../strong/locks.js'
import type { RaftTransport } from '../../strong/raft-transport.js'
import { StrongGroup, type StrongGroupOptions } from '../../strong/strong-group.js'
import type { Mutant } from './mutant.js'

/** What a broken log shows first depends on who looks first. */
const LOG_BROKEN = ['RAFT-2', 'RAFT-5', 'RAFT-11', 'RAFT-12', 'RAFT-13', 'RAFT-14']

/** A deliberate defect of the Raft core (src/raft/mutations.ts), switched on in every member of the run. */
function raftMutant(
  name: string,
  mutations: Mutations,
  options: Pick<Mutant, 'invariant' | 'withinSeeds' | 'alsoInvariants' | 'workload'>,
  sizes: Partial<RaftOptions> = {},
): Mutant {
  return {
    name,
    workload: 'leader-hunt',
    ...options,
    apply(run) {
      run.override(StrongGroup.prototype, 'start', (original) => {
        return function (this: StrongGroup, node, entry) {
          const { options: group } = this as unknown as {
            options: Pick<StrongGroupOptions, 'mutations' | 'sizes'>
          }
          Object.assign(group, { mutations, sizes })
          original.call(this, node, entry)
        }
      })
    },
  }
}

const lockWithoutFencing: Mutant = {
  name: 'lock-without-fencing',
  invariant: 'RAFT-15',
  withinSeeds: 30,
  workload: 'strong',
  apply(run) {
    const target = Locks.prototype as unknown as {
      acquire(key: string): Promise<{ fencingToken: bigint }>
    }
    const counts = new WeakMap<object, bigint>()
    run.override(target, 'acquire', (original) => {
      return async function (...args) {
        // Each server counts by itself.
        const { fencingToken: _, ...acquired } = await original.apply(this, args)
        const tokens = counts.get(this) ?? 1n
        counts.set(this, tokens + 1n)
        return { ...acquired, fencingToken: tokens }
      }
    })
  },
}

const lockWithoutQueue: Mutant = {
  name: 'lock-without-waiting-for-its-turn',
  invariant: 'RAFT-15',
  withinSeeds: 40,
  workload: 'strong',
  apply(run) {
    const target = Locks.prototype as unknown as { turn(prefix: string, waiter: { key: string }): unknown }
    run.override(target, 'turn', () => {
      return function (_, waiter) {
        const { options } = this as unknown as { options: { store: StrongGroup } }
        return options.store.get(waiter.key)?.createRevision
      }
    })
  },
}

const deletionWithoutALook: Mutant = {
  name: 'an-anchor-goes-without-a-look-at-its-transfers',
  invariant: 'RAFT-16',
  withinSeeds: 30,
  workload: 'strong',
  apply(run) {
    run.override(StrongGroup.prototype, 'list', (original) => {
      return function (this: StrongGroup, prefix, part) {
        return prefix.startsWith('transfer-at/') ? [] : original.call(this, prefix, part)
      }
    })
  },
}

/** The parts of a strong group that are private to it. */
interface Member {
  readonly options: StrongGroupOptions
  readonly transport: RaftTransport
  readonly node: NodeId
  enter(group: object): void
  run(): void
}

/** A server whose disk was lost is the member that it was, and answers whoever asks. */
const emptiedVoterVotes: Mutant = {
  name: 'a-voter-without-its-disk-votes-at-once',
  invariant: 'RAFT-11',
  alsoInvariants: LOG_BROKEN,
  withinSeeds: 30,
  workload: 'lost-disk-hunt',
  apply(run) {
    const memberOf = new Map<string, NodeId>()
    run.override(StrongGroup.prototype, 'start', (original) => {
      return function (this: StrongGroup, node, entry) {
        const { serverId } = (this as unknown as Member).options
        const member = memberOf.get(serverId) ?? node
        memberOf.set(serverId, member)
        original.call(this, member, entry)
      }
    })
    run.override(StrongGroup.prototype, 'receive', (original) => {
      return function (this: StrongGroup, tuple) {
        const member = this as unknown as Member
        const received = member.transport.receive(tuple)
        if (member.options.disk.group.groupId === '' && received?.message.to === member.node) {
          const { groupId, epoch } = received
          member.enter({ groupId, epoch, node: member.node, start: joining().snapshot })
          member.run()
        }
        original.call(this, tuple)
      }
    })
  },
}

/** One entry in one message at a time: between an old one and the first of the new term there is time to fall. */
const ONE_BY_ONE: Partial<RaftOptions> = { maxAppendEntries: 1, maxInflightMessages: 1 }

export const strongMutants: readonly Mutant[] = [
  raftMutant('vote-twice-in-a-term', { voteTwice: true }, { invariant: 'RAFT-10', withinSeeds: 100 }),
  raftMutant(
    'vote-for-a-log-that-is-behind',
    { voteForStaleLogs: true },
    { invariant: 'RAFT-2', alsoInvariants: LOG_BROKEN, withinSeeds: 60 },
  ),
  raftMutant(
    'raft-acknowledges-before-persist',
    { acknowledgeBeforePersist: true },
    { invariant: 'RAFT-5', alsoInvariants: [...LOG_BROKEN, 'RAFT-10'], withinSeeds: 100 },
  ),
  raftMutant('serve-a-stale-read', { serveStaleReads: true }, { invariant: 'RAFT-14', withinSeeds: 100 }),
  raftMutant(
    'a-retried-command-happens-again',
    { skipRequestDeduplication: true },
    { invariant: 'RAFT-14', alsoInvariants: ['RAFT-12'], withinSeeds: 100 },
  ),
  raftMutant(
    'entries-of-an-old-term-are-counted-for-commit',
    { countOldTermEntries: true },
    { invariant: 'RAFT-11', alsoInvariants: LOG_BROKEN, withinSeeds: 40, workload: 'term-hunt' },
    ONE_BY_ONE,
  ),
  raftMutant(
    'two-membership-changes-at-once',
    { allowConcurrentChanges: true },
    { invariant: 'RAFT-11', alsoInvariants: LOG_BROKEN, withinSeeds: 3, workload: 'membership-hunt' },
  ),
  emptiedVoterVotes,
  lockWithoutFencing,
  lockWithoutQueue,
  deletionWithoutALook,
]
