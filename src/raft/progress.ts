import { Inflights } from './inflights.js'
import type { SnapshotMetadata } from './types.js'

/**
 * `probe`: where the logs agree is unknown, so one message at a time. `replicate`: they agree, so messages
 * are pipelined up to the window. `snapshot`: what the follower needs is compacted, so a snapshot is sent.
 */
export type ProgressState = 'probe' | 'replicate' | 'snapshot'

/** A snapshot on its way to one follower: one chunk at a time, so a follower costs at most one chunk. */
export interface SnapshotTransfer {
  readonly metadata: SnapshotMetadata
  /** Bytes that the follower has confirmed. */
  offset: number
  /** End of the chunk under way; equal to `offset` while the host is still reading it. */
  sentTo: number
  waitingFor: 'host' | 'peer'
  sinceTick: number
}

/** What the leader knows of one member's log. */
export class Progress {
  /** Highest index known to be durable there. */
  match = 0
  next: number
  state: ProgressState = 'probe'
  /** In `probe`: a message is out and unanswered. Lifted by a heartbeat response, since messages get lost. */
  probeSent = false
  /** Highest commit index that was sent in an append or as news. */
  sentCommit = 0
  lastActiveTick: number
  transfer: SnapshotTransfer | undefined
  readonly inflights: Inflights

  constructor(next: number, tick: number, maxInflightMessages: number, maxInflightBytes: number) {
    this.next = next
    this.lastActiveTick = tick
    this.inflights = new Inflights(maxInflightMessages, maxInflightBytes)
  }

  get paused(): boolean {
    if (this.state === 'probe') return this.probeSent
    return this.state === 'snapshot' || this.inflights.full
  }

  becomeProbe(): void {
    // After a snapshot the follower is known to hold it, even when that was not confirmed by an append yet.
    this.next = this.match + 1
    this.#enter('probe')
  }

  becomeReplicate(): void {
    this.next = this.match + 1
    this.#enter('replicate')
  }

  becomeSnapshot(metadata: SnapshotMetadata, tick: number): void {
    this.#enter('snapshot')
    this.transfer = { metadata, offset: 0, sentTo: 0, waitingFor: 'host', sinceTick: tick }
  }

  #enter(state: ProgressState): void {
    this.state = state
    this.probeSent = false
    this.transfer = undefined
    this.inflights.reset()
  }

  /** An append with entries up to `lastIndex` has left. */
  sent(lastIndex: number, entryCount: number, bytes: number): void {
    if (this.state === 'probe') {
      this.probeSent = true
    } else if (entryCount > 0) {
      this.next = lastIndex + 1
      this.inflights.add(lastIndex, bytes)
    }
  }

  /** The follower holds everything up to `index`. False for old news. */
  acknowledged(index: number): boolean {
    if (index <= this.match) return false
    this.match = index
    this.next = Math.max(this.next, index + 1)
    return true
  }

  /**
   * The follower refused an append after `rejectedIndex` and suggests `hintIndex` as the place where the logs
   * may agree. False for old news, which must not move anything.
   */
  rejected(rejectedIndex: number, hintIndex: number): boolean {
    if (this.state === 'replicate') {
      if (rejectedIndex <= this.match) return false
      this.becomeProbe()
      return true
    }
    if (this.state === 'snapshot' || this.next - 1 !== rejectedIndex) return false
    this.next = Math.max(Math.min(rejectedIndex, hintIndex + 1), this.match + 1)
    this.probeSent = false
    return true
  }
}
