import type { Scheduler } from '../environment/environment.js'
import type { Logger } from '../sync/logger.js'
import type { DurableState } from './durable-state.js'
import type { FormerWrites } from './former-writes.js'
import type { Incarnation } from './journal-records.js'

export interface WritershipOptions {
  readonly durables: DurableState
  readonly formerWrites: FormerWrites
  readonly logger: Logger
  readonly scheduler: Scheduler
  /** How long to wait for the lost writes to come back before writing goes on without them. */
  readonly patienceMs: number
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
  /** The replica that lost writes, and what is to come back of it first. */
  private lost: { readonly replica: string; readonly owed: Map<string, number> } | undefined

  constructor(private readonly options: WritershipOptions) {}

  /** The peers have said what they know, or there is nothing that they could know better. */
  verified(): void {
    this.isVerified = true
    this.begin()
  }

  /** A peer knows writes of this replica that are gone here. */
  writesLost(replica: string, number: number, partition: string): void {
    const { durables, isStopping, logger } = this.options
    if (replica === this.lost?.replica) this.owe(partition, number)
    if (this.isChanging || isStopping() || replica !== durables.incarnation.replica) return
    this.lost = { replica, owed: new Map() }
    this.owe(partition, number)
    this.options.scheduler.after(this.options.patienceMs, () => {
      this.lost = undefined
      this.begin()
    })
    logger.error({ replica, number }, 'peers know writes that this server has lost: new incarnation')
    this.change(replica)
  }

  /**
   * Peers know a later incarnation of this server than the one it writes as (invariant I3): it kept nothing, and its
   * clock has gone back since.
   */
  outdated(): void {
    const { durables, isStopping, logger } = this.options
    if (this.isChanging || isStopping()) return
    const { replica } = durables.incarnation
    logger.warn({ replica }, 'peers know a later incarnation of this server: new incarnation')
    this.change(replica)
  }

  /** A new incarnation that a full disk did not take is taken now: nobody may tell of the need for it again. */
  journalRecovered(): void {
    const { durables, isStopping } = this.options
    if (this.hasLostWrites && !this.isChanging && !isStopping()) this.change(durables.incarnation.replica)
  }

  private change(replica: string): void {
    const { durables, logger, onIncarnation } = this.options
    this.isChanging = true
    this.hasLostWrites = true
    durables.committer.holdNumbering()
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

  /**
   * A recovery gives up the peers that would otherwise be waited for; it begins a new epoch, so no vote of an older
   * one can be repeated (RAFT-9). Nor are they waited for later, for more than a moment, until somebody has joined.
   */
  start(isRecovery: boolean): void {
    const { durables, isStopping, patienceMs, scheduler } = this.options
    if (isRecovery) this.startVoting()
    else if (durables.raftDisk.isAloneSinceRecovery(durables.incarnation.replica)) {
      scheduler.after(patienceMs, () => {
        if (!this.hasLostWrites && !isStopping()) this.startVoting()
      })
    }
  }

  /** Until the incarnation has changed nothing may be numbered as the old one, whatever the peers say meanwhile. */
  private begin(): void {
    if (!this.isVerified || this.hasLostWrites || this.isOwed() || this.mayBeNumberedAlready()) return
    this.options.durables.committer.openNumbering()
    this.startVoting()
  }

  /**
   * The lost writes come back first, as far as those who told of them have them: among them may be the numbered
   * form of writes that this server still holds without a number.
   */
  progressed(): void {
    if (this.lost && !this.isOwed()) this.lost = undefined
    if (this.options.durables.committer.numberingHeld) this.begin()
  }

  /**
   * A backup of a server that held its numbering contains writes without a number. The incarnation that lost writes
   * may have numbered them, and who knows of it may be away: numbering them again would count them twice (invariant
   * C1). It is certain once everybody has told how far that incarnation came. What the present incarnation journalled
   * nobody else can have numbered.
   */
  private mayBeNumberedAlready(): boolean {
    const { durables, formerWrites } = this.options
    return [...durables.committer.formerPartitions()].some((partition) => !formerWrites.areKnown(partition))
  }

  private owe(partition: string, number: number): void {
    const { owed } = this.lost!
    owed.set(partition, Math.max(number, owed.get(partition) ?? 0))
  }

  private isOwed(): boolean {
    if (!this.lost) return false
    const { replica, owed } = this.lost
    const { byName } = this.options.durables.partitions
    return [...owed].some(([name, number]) => (byName.get(name)?.known(replica) ?? number) < number)
  }

  private startVoting(): void {
    if (this.mayVote) return
    this.mayVote = true
    this.options.onMayVote()
  }
}
