import { quorumValue } from './quorum.js'
import type { NodeId } from './types.js'

export interface PendingRead {
  readonly sequence: number
  /** Commit index when the read arrived: applied that far, a state machine may answer it. */
  readonly index: number
  readonly requester: NodeId
  readonly requestId: string
}

/**
 * Linearizable reads at the leader (ReadIndex, Raft thesis 6.4). Reads that arrive together share a round:
 * a heartbeat that carries a number which this leader made for this term and never uses again. A read is
 * released when a majority has echoed its number or a later one. Since the number is the leader's own and
 * not the requester's, a late echo of an earlier request can never release a later read (etcd 20418).
 */
export class ReadQueue {
  #sequence = 0
  #pending: PendingRead[] = []
  readonly #echoed = new Map<NodeId, number>()

  get length(): number {
    return this.#pending.length
  }

  /** Number of the latest round that was sent; periodic heartbeats repeat it in case one was lost. */
  get sequence(): number {
    return this.#sequence
  }

  /** The read belongs to the next round, since rounds already sent may have been answered before it came. */
  add(index: number, requester: NodeId, requestId: string): void {
    this.#pending.push({ sequence: this.#sequence + 1, index, requester, requestId })
  }

  /** Starts a round if some read waits for one. */
  beginRound(): boolean {
    const newest = this.#pending[this.#pending.length - 1]
    if (newest === undefined || newest.sequence <= this.#sequence) return false
    this.#sequence += 1
    return true
  }

  echo(from: NodeId, sequence: number): void {
    if (sequence > this.#sequence) return
    this.#echoed.set(from, Math.max(sequence, this.#echoed.get(from) ?? 0))
  }

  /** Reads that a majority of `voters` has confirmed; the leader itself confirms every round it has sent. */
  takeConfirmed(voters: readonly NodeId[], self: NodeId): PendingRead[] {
    const confirmed = quorumValue(voters, (voter) =>
      voter === self ? this.#sequence : (this.#echoed.get(voter) ?? 0),
    )
    let count = 0
    while (count < this.#pending.length && this.#pending[count]!.sequence <= confirmed) count += 1
    return this.#pending.splice(0, count)
  }

  /** Leadership is gone: returns what can no longer be confirmed. */
  reset(): PendingRead[] {
    const dropped = this.#pending
    this.#pending = []
    this.#sequence = 0
    this.#echoed.clear()
    return dropped
  }
}
