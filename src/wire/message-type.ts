/**
 * First element of every message on a link and of every record in a journal. One table, so that a record can
 * be the very bytes that travelled. Numbers are part of the protocol (docs/protocol.md) and never reused.
 */
export const MessageType = {
  /** Cells of one replica in an interval; on links and in journals. */
  delta: 8,
  /** What the sender has, per partition and replica. */
  digest: 9,
  /** What the sender's journal holds. */
  acknowledge: 10,
  /** Heartbeats and links of the servers that the sender knows. */
  heartbeat: 11,
  /** Checksums per replica. */
  checksums: 12,
  /** Asks for all cells of a replica (STORAGE_SYNC_FULL). */
  repairRequest: 13,
  /** The sender is leaving in good order. */
  leave: 14,
  /** Asks another server for rights to items. */
  borrow: 17,
  /** What has been granted to the asker in all. */
  borrowAnswer: 18,
  /** Asks what the other side's journal holds by now, for a read at a consistency level. */
  positionsRequest: 21,
  /** What the sender's journal holds, asked for by a number. */
  positions: 22,
  /** A message between members of the Raft group, directly or by way of a server linked with both. */
  raft: 16,
  /** Asks another server to go over its books, and for what it has found so far. */
  audit: 19,
  /** What it has found. */
  auditAnswer: 20,
  /** Journal only: the replica that the server writes as from here on. */
  incarnation: 64,
  /** Journal only: own writes that have no number yet. */
  unnumbered: 65,
  /** Journal only: a partition's oldest unnumbered writes are contained in the deltas that follow. */
  numbered: 66,
  /** Journal only: the Raft group that this server belongs to, and as whom; everything before it is void. */
  raftGroup: 67,
  /** Journal only: Raft term, vote and commit index. */
  raftHardState: 68,
  /** Journal only: Raft log entries; they replace what was there from the first one's index on. */
  raftEntries: 69,
  /** Journal only: a piece of a snapshot of the Raft state machine. */
  raftSnapshot: 70,
} as const
