import type { RestoredState } from '../raft/core.js'
import { joining } from '../raft/raft-node.js'
import type { Entry, HardState, NodeId } from '../raft/types.js'
import { MessageType } from '../wire/message-type.js'
import type { WireTuple } from '../wire/wire-value.js'
import {
  entriesFromTuple,
  entriesToRecords,
  FIRST_EPOCH,
  type GroupRecord,
  groupFromTuple,
  groupToRecord,
  hardStateFromRecord,
  hardStateToRecord,
  NO_GROUP,
  pieceFromTuple,
  pieceToRecord,
  type SnapshotPiece,
} from './raft-records.js'
import { ImageAssembly, piecesOf, type SnapshotImage } from './snapshot-image.js'

/**
 * What the journal holds of this server's part in the Raft group: filled by replaying its records, kept up
 * to date with what is appended, and written out anew when a journal snapshot replaces old segments.
 */
export class RaftDisk {
  group: GroupRecord = { ...NO_GROUP, node: '', start: joining().snapshot }
  image: SnapshotImage | undefined
  private hardState: HardState = joining().hardState
  private entries: Entry[] = []
  private assembly = new ImageAssembly()

  /** Returns false for records that are not about Raft. */
  replay(type: number, tuple: WireTuple): boolean {
    switch (type) {
      case MessageType.raftGroup:
        this.enterGroup(groupFromTuple(tuple))
        return true
      case MessageType.raftHardState:
        this.hardState = hardStateFromRecord(tuple)
        return true
      case MessageType.raftEntries:
        this.addEntries(entriesFromTuple(tuple))
        return true
      case MessageType.raftSnapshot: {
        this.receivePiece(pieceFromTuple(tuple))
        return true
      }
      default:
        return false
    }
  }

  /** What a `RaftNode` of that name starts from: nothing, if the records are those of an earlier incarnation. */
  restored(node: NodeId): RestoredState {
    if (this.group.node !== node) return joining()
    return {
      hardState: this.hardState,
      snapshot: this.image?.metadata ?? this.group.start,
      entries: this.entries,
    }
  }

  /** A recovery has given up all others and nobody was taken in since: this member is the whole group. */
  isAloneSinceRecovery(node: NodeId): boolean {
    const { group, image, entries } = this
    if (group.node !== node || group.epoch <= FIRST_EPOCH) return false
    let { configuration } = image?.metadata ?? group.start
    for (const entry of entries) if (entry.kind === 'configuration') configuration = entry.configuration
    const { voters, learners } = configuration
    return voters.length === 1 && voters[0] === node && learners.length === 0
  }

  /** What is certain without asking anybody: entries known to be committed when they were journalled. */
  committedEntries(): Entry[] {
    return this.entries.filter(({ index }) => index <= this.hardState.commit)
  }

  /** Begins a life in a group; everything before is void. Append the record before anything else. */
  enterGroup(group: GroupRecord): Uint8Array {
    this.group = group
    this.hardState = joining().hardState
    this.entries = []
    this.image = undefined
    this.assembly = new ImageAssembly()
    return groupToRecord(group)
  }

  /**
   * Begins a new epoch of the group with `node` as its only voter: the log as it stands here, committed or
   * not, behind the last snapshot. For the case that the other voters are lost for good.
   */
  recover(node: NodeId, epoch: number): Uint8Array[] {
    const { group, hardState, image } = this
    const configuration = { voters: [node], learners: [] }
    const base = image?.metadata ?? group.start
    const entries = this.entries.map((entry): Entry => {
      const { index, term, kind } = entry
      return kind === 'configuration' ? { index, term, kind: 'no-op' } : entry
    })
    const start = { ...base, configuration }
    const records = [this.enterGroup({ ...group, epoch, node, start })]
    if (image) {
      const kept = { metadata: start, bytes: image.bytes }
      for (const piece of piecesOf(kept, true)) records.push(pieceToRecord(piece))
      this.setImage(kept, true)
    }
    records.push(...this.persist({ term: hardState.term, vote: undefined, commit: base.index }, entries))
    return records
  }

  /**
   * Takes note of what a `Ready` makes durable and returns its records. Without `mustSync` the hard state has
   * only moved its commit index: then `hardStateRecord` may be written later, or with the next records.
   */
  persist(hardState: HardState | undefined, entries: readonly Entry[], mustSync = true): Uint8Array[] {
    const records = entriesToRecords(entries)
    if (entries.length > 0) this.addEntries(entries)
    if (hardState) this.hardState = hardState
    if (mustSync) records.push(this.hardStateRecord())
    return records
  }

  hardStateRecord(): Uint8Array {
    return hardStateToRecord(this.hardState)
  }

  /** A piece of a snapshot on its way here; with the last one the image takes effect. */
  receivePiece(piece: SnapshotPiece): { record: Uint8Array; image: SnapshotImage | undefined } {
    const image = this.assembly.add(piece)
    if (image) this.setImage(image, piece.replacesLog)
    return { record: pieceToRecord(piece), image }
  }

  /** The image is durable. */
  setImage(image: SnapshotImage, replacesLog: boolean): void {
    this.image = image
    this.entries = replacesLog ? [] : this.entries.filter(({ index }) => index > image.metadata.index)
  }

  /** Everything a restart needs, for a journal snapshot. Taken at once, encoded as it is read. */
  records(): Iterable<Uint8Array> {
    const { group, hardState, image } = this
    const entries = [...this.entries]
    // Of a snapshot that is still arriving, the pieces so far are in the segments that go.
    const arriving = this.assembly.pieces()
    return (function* () {
      if (group.groupId === '' && hardState.term === 0) return
      yield groupToRecord(group)
      if (image) for (const piece of piecesOf(image, true)) yield pieceToRecord(piece)
      for (const piece of arriving) yield pieceToRecord(piece)
      yield* entriesToRecords(entries)
      yield hardStateToRecord(hardState)
    })()
  }

  private addEntries(entries: readonly Entry[]): void {
    const first = entries[0]!.index
    while (this.entries.length > 0 && this.entries.at(-1)!.index >= first) this.entries.pop()
    this.entries.push(...entries)
  }
}
