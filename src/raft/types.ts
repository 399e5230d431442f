import type { Configuration } from './configuration.js'

/** One member of the group: a replica id (`serverId@incarnation`), so that a lost disk is a new member. */
export type NodeId = string

/** Longest node id that a peer may name: a server id, `@` and an incarnation, with room to spare. */
export const MAX_NODE_ID_LENGTH = 160

/** What an entry costs beside its payload, in memory and on the wire; only used for accounting. */
export const ENTRY_OVERHEAD_BYTES = 16

/**
 * What an entry says. `no-op` opens a leader's term (Raft thesis 6.4); `configuration` carries the whole
 * resulting membership, not the difference, so that a member that joins later needs no history for it.
 */
export type EntryBody =
  | { readonly kind: 'command'; readonly data: Uint8Array }
  | { readonly kind: 'no-op' }
  | { readonly kind: 'configuration'; readonly configuration: Configuration }

/** One slot of the log. Immutable; two entries with equal index and term are equal (log matching). */
export type Entry = { readonly index: number; readonly term: number } & EntryBody

/** Written out by kind, so that all entries of a kind have one shape: spreading costs several times as much. */
export function entryOf(body: EntryBody, index: number, term: number): Entry {
  switch (body.kind) {
    case 'command':
      return { index, term, kind: 'command', data: body.data }
    case 'no-op':
      return { index, term, kind: 'no-op' }
    case 'configuration':
      return { index, term, kind: 'configuration', configuration: body.configuration }
  }
}

/** Must be durable before anything said in `messagesAfterPersist` of the same `Ready`. */
export interface HardState {
  readonly term: number
  /** Whom this node voted for in `term`. */
  readonly vote: NodeId | undefined
  readonly commit: number
}

/** Names the state that a snapshot holds: everything up to and including the entry (index, term). */
export interface SnapshotMetadata {
  readonly index: number
  readonly term: number
  /** The membership in force at `index`. */
  readonly configuration: Configuration
}

/** `pre-candidate` asks whether it could win before it disturbs anybody's term (thesis 9.6). */
export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader'

export function entryBytes(entry: EntryBody): number {
  if (entry.kind === 'command') return ENTRY_OVERHEAD_BYTES + entry.data.length
  if (entry.kind === 'no-op') return ENTRY_OVERHEAD_BYTES
  let bytes = ENTRY_OVERHEAD_BYTES
  for (const node of entry.configuration.voters) bytes += node.length + 2
  for (const node of entry.configuration.learners) bytes += node.length + 2
  return bytes
}
