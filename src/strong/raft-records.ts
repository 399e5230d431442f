import {
  entryFromTuple,
  entryToTuple,
  hardStateFromTuple,
  hardStateToTuple,
  snapshotMetadataFromTuple,
  snapshotMetadataToTuple,
} from '../raft/entry-codec.js'
import { type Entry, entryBytes, type HardState, type NodeId, type SnapshotMetadata } from '../raft/types.js'
import { encodeMessage } from '../wire/encode.js'
import { expectBoolean, expectBytes, expectString, expectTuple, expectUint } from '../wire/expect.js'
import { MessageType } from '../wire/message-type.js'
import type { WireTuple, WireValue } from '../wire/wire-value.js'
import { areCommands, encodeCommands } from './entry-encoder.js'

/** Which group a server is in. A recovery that gives up lost voters makes a new epoch, which ends the old one. */
export interface RaftGroup {
  /** Random, made at the founding; '' for a server that no group has taken in yet. */
  readonly groupId: string
  readonly epoch: number
}

/** A founding's. */
export const FIRST_EPOCH = 1

export const NO_GROUP: RaftGroup = { groupId: '', epoch: 0 }

/** The first record of a server's life in a group. `start` is the snapshot metadata that the log begins with. */
export interface GroupRecord extends RaftGroup {
  readonly node: NodeId
  readonly start: SnapshotMetadata
}

export interface SnapshotPiece {
  readonly metadata: SnapshotMetadata
  /** 0 begins anew. */
  readonly offset: number
  readonly data: Uint8Array
  readonly last: boolean
  /** It came from a leader and replaces the whole log; otherwise only what it covers. */
  readonly replacesLog: boolean
}

/** Bytes of entries in one record. */
const ENTRIES_RECORD_BYTES = 128 * 1024
const MAX_GROUP_ID_LENGTH = 64
const MAX_PIECE_BYTES = 200 * 1024
/** Size of the pieces that a snapshot is journalled and sent in. */
export const SNAPSHOT_PIECE_BYTES = 96 * 1024

export function groupToRecord({ groupId, epoch, node, start }: GroupRecord): Uint8Array {
  return encode([MessageType.raftGroup, groupId, epoch, node, snapshotMetadataToTuple(start)])
}

export function groupFromTuple(tuple: WireTuple): GroupRecord {
  const fields = expectTuple(tuple, 5, 'raft_group')
  return {
    groupId: expectString(fields[1], MAX_GROUP_ID_LENGTH, 'raft_group.id'),
    epoch: expectUint(fields[2], 'raft_group.epoch'),
    node: expectString(fields[3], 160, 'raft_group.node'),
    start: snapshotMetadataFromTuple(fields[4]),
  }
}

export function hardStateToRecord(hardState: HardState): Uint8Array {
  return encode([MessageType.raftHardState, hardStateToTuple(hardState)])
}

export function hardStateFromRecord(tuple: WireTuple): HardState {
  return hardStateFromTuple(expectTuple(tuple, 2, 'raft_hard_state')[1])
}

export function entriesToRecords(entries: readonly Entry[]): Uint8Array[] {
  const records: Uint8Array[] = []
  let start = 0
  let bytes = 0
  for (let at = 0; at < entries.length; at++) {
    const size = entryBytes(entries[at]!)
    if (at > start && bytes + size > ENTRIES_RECORD_BYTES) {
      records.push(entriesToRecord(entries.slice(start, at)))
      start = at
      bytes = 0
    }
    bytes += size
  }
  if (start < entries.length) records.push(entriesToRecord(start === 0 ? entries : entries.slice(start)))
  return records
}

function entriesToRecord(entries: readonly Entry[]): Uint8Array {
  if (areCommands(entries)) return encodeCommands(entries)
  return encode([MessageType.raftEntries, entries.map(entryToTuple)])
}

export function entriesFromTuple(tuple: WireTuple): Entry[] {
  const list = expectTuple(expectTuple(tuple, 2, 'raft_entries')[1], 1, 'raft_entries')
  return list.map(entryFromTuple)
}

export function pieceToRecord({ metadata, offset, data, last, replacesLog }: SnapshotPiece): Uint8Array {
  return encode([
    MessageType.raftSnapshot,
    snapshotMetadataToTuple(metadata),
    offset,
    data,
    last,
    replacesLog,
  ])
}

export function pieceFromTuple(tuple: WireTuple): SnapshotPiece {
  const fields = expectTuple(tuple, 6, 'raft_snapshot')
  return {
    metadata: snapshotMetadataFromTuple(fields[1]),
    offset: expectUint(fields[2], 'raft_snapshot.offset'),
    data: expectBytes(fields[3], MAX_PIECE_BYTES, 'raft_snapshot.data'),
    last: expectBoolean(fields[4], 'raft_snapshot.last'),
    replacesLog: expectBoolean(fields[5], 'raft_snapshot.replaces_log'),
  }
}

/** The tuples of the Raft core are plain values of the wire subset, typed loosely there. */
function encode(tuple: readonly unknown[]): Uint8Array {
  return encodeMessage(tuple as readonly WireValue[])
}
