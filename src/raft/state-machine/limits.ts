/**
 * Version of the rules below and of the snapshot format. Every member must decide alike, so the limits are
 * part of the protocol, not of a server's configuration: changing one is a new version for the whole group.
 */
export const STATE_MACHINE_VERSION = 1

/** What the state machine refuses, the same on every member. */
export interface StateMachineLimits {
  /** UTF-16 units of a key or prefix. */
  readonly maxKeyLength: number
  readonly maxValueBytes: number
  /** Comparisons, and operations in either branch, of one transaction. */
  readonly maxOperations: number
  /** Keys that one transaction's range deletes, one lease's end or one expiry may remove. */
  readonly maxDeletedKeys: number
  readonly maxKeys: number
  /** Keys and values together, with `KEY_OVERHEAD_BYTES` for each. */
  readonly maxStoreBytes: number
  readonly maxLeases: number
  /** Keys attached to one lease; not above `maxDeletedKeys`, or it could never end. */
  readonly maxKeysPerLease: number
  readonly maxLeaseTtlMs: number
  /** Leases named in one expiry. */
  readonly maxExpiries: number
  /** Client sessions; opening one more closes the one that was used least recently. */
  readonly maxSessions: number
  /** Results kept for one session: how many commands a client may have under way. */
  readonly maxResultsPerSession: number
  /** Change events kept for watchers that are behind. */
  readonly maxHistoryEvents: number
  readonly maxHistoryBytes: number
}

export const STATE_MACHINE_LIMITS: StateMachineLimits = Object.freeze({
  maxKeyLength: 512,
  maxValueBytes: 64 * 1024,
  maxOperations: 128,
  maxDeletedKeys: 10_000,
  maxKeys: 1_000_000,
  maxStoreBytes: 512 * 1024 * 1024,
  maxLeases: 65_536,
  maxKeysPerLease: 1024,
  maxLeaseTtlMs: 24 * 60 * 60 * 1000,
  maxExpiries: 256,
  maxSessions: 4096,
  maxResultsPerSession: 1024,
  maxHistoryEvents: 65_536,
  maxHistoryBytes: 32 * 1024 * 1024,
})

/** What a key costs beside its name and value, for accounting. */
export const KEY_OVERHEAD_BYTES = 64

/** Longest name of a session (a replica id), shown to people. */
export const MAX_SESSION_NAME_LENGTH = 160
