/**
 * Deliberate defects, one per rule whose breach loses data, off unless a test or the simulator turns one on.
 * They exist to show that the checkers can see: a checker that passes with a mutation on is itself broken.
 */
export interface Mutations {
  /** Forgets whom it voted for: two leaders in one term. */
  readonly voteTwice?: boolean
  /** Commits entries of earlier terms by counting replicas (the figure 8 of the Raft paper). */
  readonly countOldTermEntries?: boolean
  /** Sends what must wait for the disk at once: acknowledged entries and votes are lost in a crash. */
  readonly acknowledgeBeforePersist?: boolean
  /** Answers a linearizable read without asking a quorum whether it still leads. */
  readonly serveStaleReads?: boolean
  /** Applies a retried command again instead of returning its first result. */
  readonly skipRequestDeduplication?: boolean
  /** Takes a membership change while the last one is still under way, and before its own term has committed. */
  readonly allowConcurrentChanges?: boolean
  /** Votes for candidates whose log is behind: committed entries are lost with the next leader. */
  readonly voteForStaleLogs?: boolean
}

export const NO_MUTATIONS: Mutations = Object.freeze({})
