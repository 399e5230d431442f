import type { Partition } from '../crdt/partition.js'
import type { ReplicaId } from '../sync/identity.js'
import type { DigestMessage } from './messages.js'

/** What replication asks of the node around it. */
export interface ReplicatorPorts {
  readonly serverId: string
  /** The partitions hosted here, by name. */
  readonly partitions: ReadonlyMap<string, Partition>
  /**
   * Journals a delta that is about to be merged. Returns the journal position at which it will be durable, or
   * undefined when the journal can take no more just now.
   */
  store(delta: Uint8Array): number | undefined
  /** Whether the journal takes more: a peer whose delta could not be stored is asked again only then. */
  canStore(): boolean
  /** A peer knows more of this server's own writes than it does itself: they were lost here. */
  ownWritesLost(replica: ReplicaId, number: number, partition: string): void
  /** A peer has told where it is; its vector has been compared. */
  digestHeard(server: string, digest: DigestMessage): void
  /** A delta of another replica has been merged. */
  merged(): void
  /** A server's journal holds more of this server's own writes. */
  acknowledged(): void
  /** Equal vectors, unequal state: a defect somewhere. A full exchange has been started. */
  mismatch(server: string, partition: string, replica: ReplicaId): void
  /** Continues on a later turn of the event loop. */
  soon(task: () => void): void
  /** Uniform in [0, 1). */
  uniform(): number
}
