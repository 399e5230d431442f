import type { Delta } from '../crdt/cell.js'
import type { ReplicaId } from '../sync/identity.js'
import { topicKey } from './acknowledgements.js'

/** Encoded deltas kept, all replicas together; a peer that is further behind gets freshly cut ones. */
export const MAX_RECENT_BYTES = 8 * 1024 * 1024
/** A peer that is more deltas behind than this gets the state instead, which may be far smaller. */
const MAX_STEPS = 8
/** What one costs beside its bytes, about. */
const OVERHEAD_BYTES = 200

export interface EncodedDelta {
  readonly from: number
  readonly to: number
  readonly bytes: Uint8Array
}

/**
 * The newest deltas in encoded form, so that the bytes journalled here, or received from one peer, go to all
 * others unchanged.
 */
export class RecentDeltas {
  /** Oldest first, by topic and first number. */
  private readonly deltas = new Map<string, EncodedDelta>()
  private kept = 0

  /** Never above `MAX_RECENT_BYTES`. */
  get keptBytes(): number {
    return this.kept
  }

  /** `bytes` is kept: it must be nobody else's to change. */
  add(delta: Delta, bytes: Uint8Array): void {
    if (delta.repair) return
    const key = keyOf(delta.partition, delta.replica, delta.from)
    this.drop(key)
    this.deltas.set(key, { from: delta.from, to: delta.to, bytes })
    this.kept += bytes.length + OVERHEAD_BYTES
    for (const oldest of this.deltas.keys()) {
      if (this.kept <= MAX_RECENT_BYTES) return
      this.drop(oldest)
    }
  }

  /** The kept delta that begins exactly at `from`, if a few more like it lead up to `known`. */
  find(partition: string, replica: ReplicaId, from: number, known: number): EncodedDelta | undefined {
    const first = this.deltas.get(keyOf(partition, replica, from))
    let last = first
    for (let step = 1; last && last.to < known && step < MAX_STEPS; step++) {
      last = this.deltas.get(keyOf(partition, replica, last.to))
    }
    return last?.to === known ? first : undefined
  }

  private drop(key: string): void {
    const dropped = this.deltas.get(key)
    if (!dropped) return
    this.deltas.delete(key)
    this.kept -= dropped.bytes.length + OVERHEAD_BYTES
  }
}

function keyOf(partition: string, replica: ReplicaId, from: number): string {
  return `${topicKey(partition, replica)}\n${from}`
}
