import type { ConsistencyLevel } from '../sync/consistency.js'
import type { ReachOptions } from './levels.js'
import type { WriteGroup } from './write-group.js'

/** How a node finds out what has become of a write. */
export interface ReceiptHost {
  reached(group: WriteGroup, level: ConsistencyLevel, options: ReachOptions): Promise<void>
}

/** Handed out for every write: it has been applied here; the receipt tells how far it has got since. */
export class Receipt {
  /** @internal */
  constructor(
    protected readonly host: ReceiptHost,
    protected readonly group: WriteGroup,
    /** How much was deposited or withdrawn. */
    private readonly quantity: number | bigint,
  ) {}

  get amount(): bigint {
    return BigInt(this.quantity)
  }

  /** 'durable' once the journal holds it. */
  get state(): 'pending' | 'durable' {
    return this.group.durable.reached ? 'durable' : 'pending'
  }

  /**
   * Resolves when the write survives a crash of this server (with durability 'memory': when it may be sent).
   * Rejects with DiskFullError while the disk is full (it is tried again, so it may become durable later),
   * with JournalFailedError when the disk failed, with NotRunningError when the node stopped before.
   */
  get durable(): Promise<void> {
    return this.group.durable.wait()
  }

  /**
   * Resolves when the level is reached; rejects with LevelNotReachedError (which says how far it got),
   * AbortedError, or as `durable` does. The write stands in every case.
   */
  reached(level: ConsistencyLevel, options: ReachOptions = {}): Promise<void> {
    return this.host.reached(this.group, level, options)
  }
}
