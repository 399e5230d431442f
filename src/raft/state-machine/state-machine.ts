import { assertInvariant, FrameError } from '../../sync/errors.js'
import { RAFT_INVARIANTS } from '../invariants.js'
import { type Mutations, NO_MUTATIONS } from '../mutations.js'
import type { Tuple } from '../tuple-reader.js'
import { requestFromTuple } from './command-codec.js'
import type { Command, Expiry, Request, Transaction } from './commands.js'
import { EventHistory, type WatchPage } from './event-history.js'
import { type KeyEvent, type KeyValue, KeyValueStore, type ListOptions } from './key-value-store.js'
import { type Lease, Leases } from './leases.js'
import { STATE_MACHINE_LIMITS, type StateMachineLimits } from './limits.js'
import { type Result, refused } from './results.js'
import { Sessions } from './sessions.js'
import { snapshotChunks } from './snapshot.js'
import { deleteKeys, execute, firstFailing, refusalOf } from './transaction.js'

export interface StateMachineInput {
  /** Tests only: in a group every member must have the same. */
  readonly limits?: StateMachineLimits
  readonly mutations?: Mutations
}

/** The parts, for the snapshot. */
export interface StateMachineParts {
  readonly store: KeyValueStore
  readonly leases: Leases
  readonly sessions: Sessions
}

/**
 * What the Raft log drives: a key/value store with revisions, transactions, leases and sessions. A function of
 * the applied entries alone: no clock, no chance, so every member that applied the same entries is the same,
 * bit for bit in its snapshot. Reads are local and as old as the last applied entry; for a linearizable one
 * wait until the index from `RaftNode.requestRead` is applied.
 *
 * Fencing: `revision` in a result of a put is larger than that of every earlier put, so whoever guards a
 * resource refuses a token lower than the highest that it has seen.
 */
export class StateMachine {
  readonly #limits: StateMachineLimits
  readonly #deduplicate: boolean
  readonly #store = new KeyValueStore()
  readonly #leases = new Leases()
  readonly #sessions: Sessions
  #history: EventHistory
  #appliedIndex = 0

  constructor({ limits = STATE_MACHINE_LIMITS, mutations = NO_MUTATIONS }: StateMachineInput = {}) {
    this.#limits = limits
    this.#deduplicate = mutations.skipRequestDeduplication !== true
    this.#sessions = new Sessions(limits.maxSessions, limits.maxResultsPerSession)
    this.#history = new EventHistory(limits.maxHistoryEvents, limits.maxHistoryBytes, 0)
  }

  get appliedIndex(): number {
    return this.#appliedIndex
  }

  /** Of the last transaction that changed something; 0 at first. */
  get revision(): number {
    return this.#store.revision
  }

  get keyCount(): number {
    return this.#store.size
  }

  get sessionCount(): number {
    return this.#sessions.size
  }

  get(key: string): KeyValue | undefined {
    return this.#store.get(key)
  }

  /** A page of keys in the order of UTF-16 units. */
  list(options: ListOptions): KeyValue[] {
    return this.#store.list(options)
  }

  lease(id: number): Lease | undefined {
    return this.#leases.get(id)
  }

  /** All leases; see `LeaseExpiry` for the leader's use of them. */
  leases(): Lease[] {
    return this.#leases.all()
  }

  /** Watching from here on sees nothing of what was before: asking for it throws RevisionCompactedError. */
  get compactedRevision(): number {
    return this.#history.compactedRevision
  }

  /**
   * Changes from `fromRevision` on to keys with `prefix`; about `limit` of them, whole revisions. To watch: list,
   * remember `revision`, then ask from `revision + 1` on, and go on at `nextRevision` after each apply.
   * @throws RevisionCompactedError when the watcher is too far behind: list again.
   */
  eventsSince(fromRevision: number, prefix: string, limit: number): WatchPage {
    return this.#history.since(fromRevision, prefix, limit, this.revision)
  }

  /**
   * Applies the data of the entry at `index`, as decoded by the host (anything at all if that failed). Never
   * throws for what it is given: a committed entry must have the same outcome everywhere.
   */
  apply(index: number, data: unknown): Result {
    assertInvariant(
      index > this.#appliedIndex,
      RAFT_INVARIANTS.appliedOnce,
      `entry ${index} is applied after ${this.#appliedIndex}`,
    )
    this.#appliedIndex = index
    let request: Request
    try {
      request = requestFromTuple(data, this.#limits)
    } catch (error) {
      if (error instanceof FrameError) return refused('malformed')
      throw error
    }
    const { session, sequence, oldestPending, command } = request
    const run = () => this.#execute(index, command)
    if (session === 0) return run()
    return this.#sessions.once(session, sequence, oldestPending, this.#deduplicate, run)
  }

  #execute(index: number, command: Command): Result {
    switch (command.kind) {
      case 'transact':
        return this.#transact(command)
      case 'open-session':
        this.#sessions.open(index, command.name)
        return { status: 'session', session: index }
      case 'close-session':
        return this.#sessions.close(command.session) ? this.#done(0) : refused('session-unknown')
      case 'grant-lease':
        return this.#grantLease(index, command.ttlMs)
      case 'keep-alive': {
        const lease = this.#leases.renew(command.lease)
        if (lease === undefined) return refused('lease-unknown')
        return { status: 'lease', lease: lease.id, ttlMs: lease.ttlMs }
      }
      case 'revoke-lease':
        if (this.#leases.get(command.lease) === undefined) return refused('lease-unknown')
        return this.#endLeases([command.lease])
      case 'expire-leases':
        return this.#endLeases(this.#overdue(command.expiries))
    }
  }

  #transact({ comparisons, success, failure }: Transaction): Result {
    const failedComparison = firstFailing(this.#store, comparisons)
    const operations = failedComparison === -1 ? success : failure
    const refusal = refusalOf(this.#store, this.#leases, operations, this.#limits)
    if (refusal !== undefined) return refused(refusal)
    const deleted = this.#commit(execute(this.#store, this.#leases, operations, this.revision + 1))
    return this.#done(deleted, failedComparison)
  }

  #grantLease(index: number, ttlMs: number): Result {
    if (this.#leases.size >= this.#limits.maxLeases) return refused('leases-full')
    this.#leases.grant(index, ttlMs)
    return { status: 'lease', lease: index, ttlMs }
  }

  /** Those not renewed since the leader decided, as many as one revision may delete the keys of. */
  #overdue(expiries: readonly Expiry[]): number[] {
    let keys = 0
    const overdue = new Set<number>()
    for (const { lease, renewals } of expiries) {
      if (this.#leases.get(lease)?.renewals !== renewals) continue
      keys += this.#leases.keyCount(lease)
      if (keys > this.#limits.maxDeletedKeys) break
      overdue.add(lease)
    }
    return [...overdue]
  }

  #endLeases(leases: readonly number[]): Result {
    const events: KeyEvent[] = []
    for (const lease of leases) {
      events.push(...deleteKeys(this.#store, this.#leases, this.#leases.end(lease), this.revision + 1))
    }
    return this.#done(this.#commit(events))
  }

  /** One revision for everything that changed, none for nothing. Returns how many keys were deleted. */
  #commit(events: readonly KeyEvent[]): number {
    if (events.length === 0) return 0
    this.#store.revision += 1
    this.#history.add(events)
    return events.filter((event) => event.kind === 'delete').length
  }

  #done(deleted: number, failedComparison = -1): Result {
    const succeeded = failedComparison === -1
    return { status: 'done', succeeded, failedComparison, revision: this.revision, deleted }
  }

  /**
   * The state as it is now, as tuples of bounded size for the host to encode one by one. Taken at once (by
   * reference), so it stays what it was while further entries are applied during the writing.
   */
  snapshot(): Iterable<Tuple> {
    const { revision } = this
    return snapshotChunks(this.#parts, { appliedIndex: this.#appliedIndex, revision })
  }

  get #parts(): StateMachineParts {
    return { store: this.#store, leases: this.#leases, sessions: this.#sessions }
  }

  /** For `SnapshotRestore`: fills an empty machine, then sets where it stands. */
  restoreInto(fill: (parts: StateMachineParts) => { appliedIndex: number; revision: number }): void {
    assertInvariant(
      this.#appliedIndex === 0,
      RAFT_INVARIANTS.appliedOnce,
      'only an empty state machine is restored into',
    )
    const { appliedIndex, revision } = fill(this.#parts)
    this.#appliedIndex = appliedIndex
    this.#store.revision = revision
    this.#history = new EventHistory(this.#limits.maxHistoryEvents, this.#limits.maxHistoryBytes, revision)
  }
}
