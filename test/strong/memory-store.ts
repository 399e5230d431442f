import type { Environment } from '../../src/environment/environment.js'
import { requestToTuple } from '../../src/raft/state-machine/command-codec.js'
import { type Command, withoutSession } from '../../src/raft/state-machine/commands.js'
import type { KeyValue } from '../../src/raft/state-machine/key-value-store.js'
import { LeaseExpiry } from '../../src/raft/state-machine/lease-expiry.js'
import type { Result } from '../../src/raft/state-machine/results.js'
import { SnapshotRestore } from '../../src/raft/state-machine/snapshot-restore.js'
import { StateMachine } from '../../src/raft/state-machine/state-machine.js'
import type {
  ListPart,
  StrongChange,
  StrongOptions,
  StrongStore,
  StrongTransaction,
  TransactionResult,
} from '../../src/strong/strong-store.js'
import { ConflictError, NoQuorumError, OutcomeUnknownError } from '../../src/sync/errors.js'

/**
 * What becomes of one command.
 *  - 'refused': NoQuorumError, nothing happens;
 *  - 'unknown-done': it takes effect, the caller gets OutcomeUnknownError;
 *  - 'unknown-lost': it does not, the caller gets OutcomeUnknownError;
 *  - 'unknown-late': OutcomeUnknownError, and it takes effect `lateMs` afterwards.
 */
export type Fault = 'none' | 'refused' | 'unknown-done' | 'unknown-lost' | 'unknown-late'

/** The log of a group and its clock: commands in one order, each applied by every client when it gets there. */
export class MemoryGroup {
  readonly log: Command[] = []
  readonly clients: MemoryStore[] = []
  /** Asked for every command. */
  fault: (client: MemoryStore, command: Command) => Fault = () => 'none'
  /** From a command to its place in the log, and from there to another client's machine. */
  delayMs: () => number = () => 1
  lateMs = 500
  /** A leader's clock may run faster or slower than everybody else's. */
  leaderClockRate = 1
  private readonly leader = new StateMachine()
  private readonly expiry = new LeaseExpiry()

  constructor(readonly environment: Pick<Environment, 'clock' | 'scheduler'>) {
    this.watchLeases(environment.clock.monotonicMs())
  }

  client(replica: string): MemoryStore {
    const client = new MemoryStore(this, replica)
    this.clients.push(client)
    client.catchUp(this.log.length)
    return client
  }

  /** Puts it into the log. Clients learn of it later. */
  append(command: Command): number {
    this.log.push(command)
    const index = this.log.length
    apply(this.leader, index, command)
    for (const client of this.clients) {
      this.environment.scheduler.after(this.delayMs(), () => client.hear(index))
    }
    return index
  }

  /** The state as the leader has it. */
  get machine(): StateMachine {
    return this.leader
  }

  /** All leases of all servers end now, as if nobody had renewed them. */
  expireAllLeases(): void {
    const expiries = this.leader.leases().map(({ id, renewals }) => ({ lease: id, renewals }))
    this.append({ kind: 'expire-leases', expiries })
  }

  private watchLeases(lastMs: number): void {
    this.environment.scheduler.after(100, () => {
      const nowMs = this.environment.clock.monotonicMs()
      const elapsedMs = (nowMs - lastMs) * this.leaderClockRate
      const expiries = this.expiry.elapse(elapsedMs, this.leader.leases(), 256)
      if (expiries.length > 0) this.append({ kind: 'expire-leases', expiries })
      this.watchLeases(nowMs)
    })
  }
}

function apply(machine: StateMachine, index: number, command: Command): Result {
  return machine.apply(index, requestToTuple(withoutSession(command)))
}

interface Watch {
  readonly prefix: string
  readonly listener: (change: StrongChange) => void
  next: number
}

/** One server's view: its own state machine, which applies the log up to where it has heard of it. */
export class MemoryStore implements StrongStore {
  /** Cut off: it reaches nobody and hears of nothing. */
  cut = false
  machine = new StateMachine()
  /** Snapshots that have jumped over entries. */
  jumps = 0
  /** Lists that were read, for tests of what is scanned. */
  readonly listed: string[] = []
  keysRead = 0
  private applied = 0
  private heard = 0
  private readonly watches = new Set<Watch>()
  private readonly awaited = new Set<number>()
  private readonly answers = new Map<number, Result>()

  constructor(
    readonly group: MemoryGroup,
    readonly replica: string,
  ) {}

  get revision(): number {
    return this.machine.revision
  }

  get(key: string): KeyValue | undefined {
    return this.machine.get(key)
  }

  list(prefix: string, part: ListPart = {}): KeyValue[] {
    this.listed.push(prefix)
    const found = this.machine.list({ prefix, limit: Number.POSITIVE_INFINITY, ...part })
    this.keysRead += found.length
    return found
  }

  async barrier(options: StrongOptions = {}): Promise<void> {
    const index = this.group.log.length
    await this.pass(this.group.delayMs())
    if (this.cut) {
      await this.pass(options.timeoutMs ?? 5_000)
      if (this.cut) throw new NoQuorumError('cut off')
    }
    this.catchUp(index)
  }

  async transact(transaction: StrongTransaction, options?: StrongOptions): Promise<TransactionResult> {
    const { comparisons = [], success, failure = [] } = transaction
    const result = await this.propose({ kind: 'transact', comparisons, success, failure }, options)
    if (result.status !== 'done') throw refusal(result)
    return result
  }

  async grantLease(ttlMs: number, options?: StrongOptions): Promise<number> {
    const result = await this.propose({ kind: 'grant-lease', ttlMs }, options)
    if (result.status !== 'lease') throw refusal(result)
    return result.lease
  }

  async renewLease(lease: number, options?: StrongOptions): Promise<boolean> {
    return (await this.propose({ kind: 'keep-alive', lease }, options)).status === 'lease'
  }

  async revokeLease(lease: number, options?: StrongOptions): Promise<void> {
    await this.propose({ kind: 'revoke-lease', lease }, options)
  }

  watch(prefix: string, listener: (change: StrongChange) => void): () => void {
    const watch: Watch = { prefix, listener, next: this.machine.revision + 1 }
    this.watches.add(watch)
    return () => this.watches.delete(watch)
  }

  get watchCount(): number {
    return this.watches.size
  }

  /** Word that the log has reached this index. */
  hear(index: number): void {
    this.heard = Math.max(this.heard, index)
    if (!this.cut) this.catchUp(this.heard)
  }

  /** Reachable again; what was missed comes as entries, or as a snapshot that jumps over them. */
  heal(how: 'entries' | 'snapshot'): void {
    this.cut = false
    if (how === 'entries') {
      this.catchUp(this.group.log.length)
      return
    }
    this.jumps += 1
    const restore = new SnapshotRestore()
    for (const chunk of this.group.machine.snapshot()) restore.add(chunk)
    this.machine = restore.finish()
    this.applied = this.group.log.length
    const { revision } = this.machine
    for (const watch of [...this.watches]) {
      watch.next = revision + 1
      watch.listener({ kind: 'reset', revision })
    }
  }

  catchUp(index: number): void {
    while (this.applied < index) {
      this.applied += 1
      const result = apply(this.machine, this.applied, this.group.log[this.applied - 1]!)
      if (this.awaited.delete(this.applied)) this.answers.set(this.applied, result)
      for (const watch of [...this.watches]) this.serve(watch)
    }
  }

  private serve(watch: Watch): void {
    if (!this.watches.has(watch) || watch.next > this.machine.revision) return
    const { events, nextRevision } = this.machine.eventsSince(watch.next, watch.prefix, 1_000_000)
    watch.next = nextRevision
    if (events.length > 0) watch.listener({ kind: 'events', events, revision: nextRevision - 1 })
  }

  private async propose(command: Command, options: StrongOptions = {}): Promise<Result> {
    const { group } = this
    const fault = this.cut ? 'refused' : group.fault(this, command)
    await this.pass(fault === 'none' ? group.delayMs() : Math.min(200, options.timeoutMs ?? 5_000))
    if (fault === 'refused') throw new NoQuorumError('injected')
    if (fault === 'unknown-done') group.append(command)
    if (fault === 'unknown-late') group.environment.scheduler.after(group.lateMs, () => group.append(command))
    if (fault !== 'none') throw new OutcomeUnknownError(`injected: ${fault}`)
    const index = group.append(command)
    this.awaited.add(index)
    await this.pass(group.delayMs())
    // Cut off between sending and answer.
    if (this.cut) throw new OutcomeUnknownError('cut off')
    this.catchUp(index)
    const result = this.answers.get(index)
    this.answers.delete(index)
    if (result === undefined) throw new OutcomeUnknownError('a snapshot has jumped over the answer')
    return result
  }

  private pass(ms: number): Promise<void> {
    return new Promise((resolve) => this.group.environment.scheduler.after(ms, resolve))
  }
}

function refusal(result: Result): Error {
  return new ConflictError(result.status === 'refused' ? result.reason : result.status)
}
