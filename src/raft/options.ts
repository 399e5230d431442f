import { ConfigError } from '../sync/errors.js'

/** Every tunable of the Raft core. Time is counted in ticks; the host decides how long a tick is. */
export interface RaftOptions {
  /**
   * Silence after which a follower stands for election, drawn anew from [electionTicks, 2 × electionTicks);
   * also how long a leader may go without hearing a quorum before it steps down. Too low: elections whenever
   * a server stutters. Too high: slow failover.
   */
  readonly electionTicks: number
  /**
   * Ticks between heartbeats. Must be well below `electionTicks` (at least half), or one late heartbeat costs
   * an election. Too low: needless traffic to every member.
   */
  readonly heartbeatTicks: number
  /**
   * Largest sum of entry bytes in one append message; a single larger entry would not fit, so `maxEntryBytes`
   * may not exceed it. Must stay well below the frame limit of the links.
   */
  readonly maxAppendBytes: number
  /** Most entries in one append message. Bounds decoding work per message; too low wastes batching. */
  readonly maxAppendEntries: number
  /** Unanswered append messages per follower while pipelining. 1 turns pipelining off. */
  readonly maxInflightMessages: number
  /** Unanswered append bytes per follower: the memory a slow follower may hold in buffers. */
  readonly maxInflightBytes: number
  /**
   * Bytes of entries the leader has taken but not committed; beyond it proposals are refused (`overloaded`).
   * Bounds the log while a quorum is missing. Too low: refusals under load.
   */
  readonly maxUncommittedBytes: number
  /** Largest single command in bytes; larger ones are refused (`too-large`). */
  readonly maxEntryBytes: number
  /** Bytes of committed entries in one `Ready`, so that a long backlog is applied in slices. */
  readonly maxApplyBytes: number
  /** Largest piece of a snapshot in one message. Too high delays heartbeats behind it; too low is slow. */
  readonly snapshotChunkBytes: number
  /** Forwarded proposals plus unanswered reads that this node keeps track of; beyond it: `overloaded`. */
  readonly maxPendingRequests: number
  /** Bytes of forwarded proposals without an answer; beyond it: `overloaded`. */
  readonly maxForwardedBytes: number
  /** Ticks after which a forwarded request without an answer is given up: a proposal as unknown, a read as timed out. */
  readonly requestTimeoutTicks: number
  /** How many entries a learner may be behind when it is promoted; a learner far behind would stall commits. */
  readonly promotionLagEntries: number
  /** Most voters; further members stay learners. Every voter more costs latency, every second one buys a failure. */
  readonly maxVoters: number
}

export const DEFAULT_RAFT_OPTIONS: RaftOptions = Object.freeze({
  electionTicks: 10,
  heartbeatTicks: 1,
  maxAppendBytes: 256 * 1024,
  maxAppendEntries: 1024,
  maxInflightMessages: 64,
  maxInflightBytes: 4 * 1024 * 1024,
  maxUncommittedBytes: 16 * 1024 * 1024,
  maxEntryBytes: 128 * 1024,
  maxApplyBytes: 1024 * 1024,
  snapshotChunkBytes: 128 * 1024,
  maxPendingRequests: 4096,
  maxForwardedBytes: 8 * 1024 * 1024,
  requestTimeoutTicks: 20,
  promotionLagEntries: 256,
  maxVoters: 5,
})

/** Fills in the defaults. @throws ConfigError for unknown keys and for values that contradict each other. */
export function validateRaftOptions(given: Partial<RaftOptions> = {}): RaftOptions {
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(DEFAULT_RAFT_OPTIONS, key)) throw new ConfigError(`unknown raft option ${key}`)
  }
  const options: RaftOptions = { ...DEFAULT_RAFT_OPTIONS, ...given }
  for (const [key, value] of Object.entries(options)) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new ConfigError(`raft option ${key} must be a positive integer, not ${value}`)
    }
  }
  const ordered: [keyof RaftOptions, number, keyof RaftOptions][] = [
    ['heartbeatTicks', 2, 'electionTicks'],
    ['maxEntryBytes', 1, 'maxAppendBytes'],
    ['maxAppendBytes', 1, 'maxInflightBytes'],
    ['maxEntryBytes', 1, 'maxUncommittedBytes'],
    ['maxEntryBytes', 1, 'maxForwardedBytes'],
  ]
  for (const [low, factor, high] of ordered) {
    if (options[low] * factor > options[high]) {
      throw new ConfigError(
        `raft option ${low} (${options[low]}) is too large for ${high} (${options[high]})`,
      )
    }
  }
  if (options.maxVoters % 2 === 0) {
    throw new ConfigError('raft option maxVoters must be odd: an even voter adds a failure but no tolerance')
  }
  return options
}
