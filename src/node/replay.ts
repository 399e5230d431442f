import { deltaFromTuple } from '../crdt/delta-codec.js'
import type { Partition } from '../crdt/partition.js'
import { InvariantViolation } from '../sync/errors.js'
import { MessageType } from '../wire/message-type.js'
import { decodeTuple, messageTypeOf } from '../wire/safe-cbor.js'
import type { WireTuple } from '../wire/wire-value.js'
import {
  type Incarnation,
  incarnationFromTuple,
  numberedFromTuple,
  type UnnumberedWrites,
  unnumberedFromTuple,
} from './journal-records.js'

/**
 * Rebuilds the state from snapshot and journal: the records are deltas like those from a peer, merged by the
 * same code, and a few notes about this server itself.
 */
export class Replay {
  incarnation: Incarnation | undefined
  private readonly unnumbered: UnnumberedWrites[] = []

  /** `partition` makes the partition of a name when it is not there yet. */
  constructor(
    private readonly partition: (name: string) => Partition,
    /** Takes records about the Raft group; false for all others. */
    private readonly others: (type: number, tuple: WireTuple) => boolean,
  ) {}

  /** Journalled without a number and not numbered since, oldest first. */
  unnumberedWrites(): readonly UnnumberedWrites[] {
    return this.unnumbered
  }

  take(record: Uint8Array): void {
    const type = messageTypeOf(record)
    const tuple = decodeTuple(record)
    switch (type) {
      case MessageType.delta: {
        const delta = deltaFromTuple(tuple)
        const outcome = this.partition(delta.partition).merge(delta)
        if (outcome === 'gap')
          throw new InvariantViolation('J2', `journal jumps to ${delta.replica} ${delta.from}`)
        return
      }
      case MessageType.incarnation:
        this.incarnation = incarnationFromTuple(tuple)
        return
      case MessageType.unnumbered:
        this.unnumbered.push(unnumberedFromTuple(tuple))
        return
      case MessageType.numbered: {
        const { partition, records } = numberedFromTuple(tuple)
        for (let count = 0; count < records; count++) {
          const oldest = this.unnumbered.findIndex((writes) => writes.partition === partition)
          if (oldest < 0)
            throw new InvariantViolation('J2', `no unnumbered writes left in partition "${partition}"`)
          this.unnumbered.splice(oldest, 1)
        }
        return
      }
      default:
        if (!this.others(type, tuple))
          throw new InvariantViolation('J2', `journal record of unknown type ${type}`)
    }
  }
}
