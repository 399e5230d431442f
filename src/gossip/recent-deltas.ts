import type { Delta } from '../crdt/cell.js'
import type { ReplicaId } from '../sync/identity.js'
import { topicKey } from './acknowledgements.js'

/** Encoded deltas kept per replica; a peer that is further behind gets a freshly cut one. */
const MAX_RECENT = 8

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
  private readonly byTopic = new Map<string, EncodedDelta[]>()

  add(delta: Delta, bytes: Uint8Array): void {
    if (delta.repair) return
    const topic = topicKey(delta.partition, delta.replica)
    let recent = this.byTopic.get(topic)
    if (!recent) {
      recent = []
      this.byTopic.set(topic, recent)
    }
    recent.push({ from: delta.from, to: delta.to, bytes })
    if (recent.length > MAX_RECENT) recent.shift()
  }

  /** The kept delta that begins exactly at `from`. */
  find(partition: string, replica: ReplicaId, from: number): EncodedDelta | undefined {
    const recent = this.byTopic.get(topicKey(partition, replica))
    return recent?.find((encoded) => encoded.from === from)
  }
}
