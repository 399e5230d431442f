import type { Logger } from '../sync/logger.js'
import type { DurableState } from './durable-state.js'
import type { Incarnation } from './journal-records.js'

export interface WritershipOptions {
  readonly durables: DurableState
  readonly logger: Logger
  readonly isStopping: () => boolean
  /** The strong group and what stands on it may begin; called once. */
  readonly onMayVote: () => void
  /** This server writes as another replica from here on; `before` is the one that lost writes. */
  readonly onIncarnation: (incarnation: Incarnation, before: string) => void
}

/**
 * As which replica this server writes, and since when it may: once no write of that replica is missing here it
 * may number new ones, and vote (invariants I1, I2).
 */
export class Writership {
  private isVerified = false
  private isChanging = false
  /** Writes of this replica are gone; it stays so, also when no new incarnation could be taken yet. */
  private hasLostWrites = false
  private mayVote = false

  constructor(private readonly options: WritershipOptions) {}

  /** The peers have said what they know, or there is nothing that they could know better. */
  verified(): void {
    this.isVerified = true
    this.begin()
  }

  /** A peer knows writes of this replica that are gone here. */
  writesLost(replica: string, number: number): void {
    const { durables, isStopping, logger, onIncarnation } = this.options
    if (this.isChanging || isStopping() || replica !== durables.incarnation.replica) return
    this.isChanging = true
    this.hasLostWrites = true
    durables.committer.holdNumbering()
    logger.error({ replica, number }, 'peers know writes that this server has lost: new incarnation')
    durables.takeNewIncarnation().then(
      (incarnation) => {
        this.isChanging = false
        this.hasLostWrites = false
        this.isVerified = true
        onIncarnation(incarnation, replica)
        this.begin()
      },
      (error: unknown) => {
        this.isChanging = false
        logger.error({ error }, 'no new incarnation could be taken')
      },
    )
  }

  /** A recovery begins a new epoch of the strong group, so no vote of an older one can be repeated. */
  recover(): void {
    this.startVoting()
  }

  /** Until the incarnation has changed nothing may be numbered as the old one, whatever the peers say meanwhile. */
  private begin(): void {
    if (!this.isVerified || this.hasLostWrites) return
    this.options.durables.committer.openNumbering()
    this.startVoting()
  }

  private startVoting(): void {
    if (this.mayVote) return
    this.mayVote = true
    this.options.onMayVote()
  }
}
