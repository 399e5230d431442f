import type { Partition } from '../crdt/partition.js'
import type { Environment } from '../environment/environment.js'
import type { ReadOptions } from './fresh-reads.js'
import type { ReceiptHost } from './receipt.js'
import type { WriteGroup } from './write-group.js'

/** The visible quantity of an item after something has changed it, here or elsewhere. */
export interface QuantityChange {
  readonly storage: string
  /** Canonical item key. */
  readonly item: string
  readonly quantity: bigint
}

export interface ItemQuantity {
  readonly item: string
  readonly quantity: bigint
}

/** What a storage asks of its node. */
export interface StorageHost extends ReceiptHost {
  readonly environment: Pick<Environment, 'clock'>
  /** @throws NotRunningError, DiskFullError, JournalFailedError when no write can be taken. */
  requireWritable(): void
  groupOf(partition: Partition): WriteGroup
  /** Calls `take` when the state of the partition is as fresh as asked. */
  read<Value>(partition: Partition, options: ReadOptions, take: () => Value): Promise<Value>
  /** A new id, later than all before. */
  withdrawalId(): string
  /** An entry of any storage has been written here. */
  changedHere(partition: Partition, entry: number): void
}
