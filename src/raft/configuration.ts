import { assertInvariant } from '../sync/errors.js'
import { RAFT_INVARIANTS } from './invariants.js'
import type { ChangeRefusal } from './refusals.js'
import type { Entry, NodeId } from './types.js'

/** Upper bound on voters and learners together: the leader sends a heartbeat to each of them. */
export const MAX_MEMBERS = 1024

/** Who takes part. Both lists are sorted and disjoint. Only voters count for elections and commitment. */
export interface Configuration {
  readonly voters: readonly NodeId[]
  readonly learners: readonly NodeId[]
}

/**
 * One server at a time, so that any majority before and any majority after share a server and no joint
 * consensus is needed (Raft thesis 4.2). A server enters as a learner and is promoted when it has caught up.
 */
export interface MembershipChange {
  readonly kind: 'add-learner' | 'promote' | 'demote' | 'remove'
  readonly node: NodeId
}

export const EMPTY_CONFIGURATION: Configuration = Object.freeze({ voters: [], learners: [] })

export function members(configuration: Configuration): NodeId[] {
  return [...configuration.voters, ...configuration.learners]
}

/** The membership after `change`, or why it cannot be. */
export function changed(
  { voters, learners }: Configuration,
  { kind, node }: MembershipChange,
  maxVoters: number,
): Configuration | ChangeRefusal {
  const isVoter = voters.includes(node)
  const isLearner = learners.includes(node)
  const without = (list: readonly NodeId[]) => list.filter((other) => other !== node)
  const withNode = (list: readonly NodeId[]) => [...list, node].sort()
  const leavesNoVoter = isVoter && voters.length === 1
  switch (kind) {
    case 'add-learner':
      if (isVoter || isLearner) return 'already-a-member'
      if (voters.length + learners.length >= MAX_MEMBERS) return 'too-many-members'
      return { voters, learners: withNode(learners) }
    case 'promote':
      if (!isLearner) return isVoter ? 'already-a-voter' : 'not-a-member'
      if (voters.length >= maxVoters) return 'too-many-voters'
      return { voters: withNode(voters), learners: without(learners) }
    case 'demote':
      if (!isVoter) return isLearner ? 'already-a-learner' : 'not-a-member'
      if (leavesNoVoter) return 'last-voter'
      return { voters: without(voters), learners: withNode(learners) }
    case 'remove':
      if (!isVoter && !isLearner) return 'not-a-member'
      if (leavesNoVoter) return 'last-voter'
      return { voters: without(voters), learners: without(learners) }
  }
}

/**
 * The membership that the log says, entry by entry. A configuration is in force from the moment its entry
 * is appended, committed or not, and falls with it when the entry is truncated (Raft thesis 4.1).
 */
export class ConfigurationHistory {
  /** Ascending by index; the first is what the log starts from. */
  #steps: { readonly index: number; readonly configuration: Configuration }[]

  constructor(index: number, configuration: Configuration) {
    this.#steps = [{ index, configuration }]
  }

  get current(): Configuration {
    return this.#steps[this.#steps.length - 1]!.configuration
  }

  /** The membership before the current one, as far as it is known. */
  get previous(): Configuration {
    return (this.#steps[this.#steps.length - 2] ?? this.#steps[0]!).configuration
  }

  /** Index of the entry that set the current membership. */
  get currentIndex(): number {
    return this.#steps[this.#steps.length - 1]!.index
  }

  observe(entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.kind !== 'configuration') continue
      assertInvariant(
        entry.index > this.currentIndex,
        RAFT_INVARIANTS.membershipOrder,
        'configurations are observed in log order',
      )
      this.#steps.push({ index: entry.index, configuration: entry.configuration })
    }
  }

  /** Entries from `index` on are gone. */
  truncateFrom(index: number): void {
    while (this.#steps.length > 1 && this.currentIndex >= index) this.#steps.pop()
  }

  /** The membership in force at `index`, which must not lie before the start. */
  at(index: number): Configuration {
    for (let at = this.#steps.length - 1; at >= 0; at--) {
      const step = this.#steps[at]!
      if (step.index <= index || at === 0) return step.configuration
    }
    return this.current
  }

  /** Forgets what lies before `index`; the membership in force there becomes the start. */
  compactTo(index: number): void {
    const configuration = this.at(index)
    this.#steps = [{ index, configuration }, ...this.#steps.filter((step) => step.index > index)]
  }

  restore(index: number, configuration: Configuration): void {
    this.#steps = [{ index, configuration }]
  }
}
