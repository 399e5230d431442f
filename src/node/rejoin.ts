import type { Partition } from '../crdt/partition.js'
import type { Scheduler, Timer } from '../environment/environment.js'
import type { DigestMessage } from '../gossip/messages.js'
import type { FormerWrites } from './former-writes.js'

export interface RejoinOptions {
  readonly partitions: ReadonlyMap<string, Partition>
  readonly scheduler: Scheduler
  readonly graceMs: number
  readonly formerWrites: FormerWrites
  /** Who else belongs to the mesh as far as known, and who was configured. */
  readonly others: () => readonly string[]
  /** The peers have had their time to say what they know of this server's writes. */
  readonly onVerified: () => void
  /** Caught up with the first peer. */
  readonly onReady: () => void
}

/**
 * The first moments of a node: it may number no new write until its peers have told what they know of its
 * former ones (invariant I2), and it is ready once it has what the first peer had.
 *
 * Verified means: the grace time has passed since the first peer was heard. That all known ones were heard by then
 * says little: a backup does not know who came later, and the first peer may be new itself.
 * A server that reaches none of its peers stays unverified: it has nobody to send numbered writes to.
 */
export class Rejoin {
  private verified = false
  private ready = false
  private graceTimer: Timer | undefined
  /** What the first peer had and this server lacked. */
  private missing: { partition: Partition; replica: string; number: number }[] | undefined

  constructor(private readonly options: RejoinOptions) {}

  start(): void {
    if (this.options.others().length > 0) return
    this.options.formerWrites.graceIsOver()
    this.verify()
    this.becomeReady()
  }

  stop(): void {
    this.graceTimer?.cancel()
  }

  heardFrom(server: string, digest: DigestMessage): void {
    this.options.formerWrites.heardFrom(server, digest)
    this.graceTimer ??= this.options.scheduler.after(this.options.graceMs, () => this.graceIsOver())
    if (this.ready || this.missing) return
    this.missing = digest.partitions.flatMap(({ partition: name, rows }) => {
      const partition = this.options.partitions.get(name)
      if (!partition) return []
      const lacking = rows.filter(
        (row) => row.replica !== partition.ownReplica.replica && row.first > partition.known(row.replica),
      )
      return lacking.map((row) => ({ partition, replica: row.replica, number: row.first }))
    })
    this.progressed()
  }

  /** Something has been merged. */
  progressed(): void {
    if (this.ready || !this.missing) return
    this.missing = this.missing.filter(({ partition, replica, number }) => partition.known(replica) < number)
    if (this.missing.length === 0) this.becomeReady()
  }

  /** Whoever has not been heard by now may stay away for long. */
  private graceIsOver(): void {
    this.options.formerWrites.graceIsOver()
    this.verify()
  }

  /** A new incarnation has nothing to verify. */
  verify(): void {
    if (this.verified) return
    this.verified = true
    this.options.onVerified()
  }

  private becomeReady(): void {
    this.ready = true
    this.options.onReady()
  }
}
