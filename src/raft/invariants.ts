/** What always holds in a member, by the number under which docs/architecture.md may speak of it. */
export const RAFT_INVARIANTS = Object.freeze({
  /** The log holds no entry of a term that the hard state has not reached. */
  termsReached: 'RAFT-1',
  /** A committed entry is never overwritten, by another entry or by a snapshot. */
  committedStays: 'RAFT-2',
  /** Every entry is applied once, in the order of the log. */
  appliedOnce: 'RAFT-3',
  /** Memberships are observed in the order of the log. */
  membershipOrder: 'RAFT-4',
  /** The commit index lies within the log: else this member has lost entries that it had acknowledged. */
  commitWithinLog: 'RAFT-5',
  /** The log has no gap. */
  noGap: 'RAFT-6',
  /** Only applied entries are compacted. */
  compactedApplied: 'RAFT-7',
  /** Batches become durable in the order in which they were handed out. */
  batchOrder: 'RAFT-8',
})
