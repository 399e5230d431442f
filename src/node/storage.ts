import { CellKind } from '../crdt/cell.js'
import type { Namespace } from '../crdt/cell-table.js'
import type { OwnWrite } from '../crdt/own-writes.js'
import type { Partition } from '../crdt/partition.js'
import type { Environment } from '../environment/environment.js'
import { checkAmount } from '../sync/checks.js'
import {
  ConflictError,
  InsufficientQuantityError,
  InvalidArgumentError,
  OutcomeUnknownError,
} from '../sync/errors.js'
import { canonicalItemKey, type ItemKey } from '../sync/item-key.js'
import { type BatchWrite, batchContent, prepareBatch } from './batch.js'
import { ChangeStream } from './change-stream.js'
import { checkReadOptions, type ReadOptions } from './fresh-reads.js'
import type { OperationLog } from './operation-log.js'
import { Receipt, type ReceiptHost } from './receipt.js'
import { checkWithdrawOptions, requireOptions, type WithdrawOptions } from './withdraw-options.js'
import { Withdrawal } from './withdrawal.js'
import type { Withdrawals } from './withdrawals.js'
import { WriteGroup } from './write-group.js'

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

export interface DepositOptions {
  /** Names the operation: a retry with the same id takes effect once, also after a restart of this server. */
  readonly operationId?: string
}

/** A named collection of items, shared by all servers that host its partition. */
export class Storage {
  private readonly namespace: Namespace
  private readonly streams = new Set<ChangeStream<number, QuantityChange>>()
  /** Operation ids of backed withdrawals that wait for rights. */
  private readonly underWay = new Set<string>()

  /** @internal */
  constructor(
    readonly id: string,
    /** The world whose partition it lives in; undefined: the shared one. */
    readonly world: string | undefined,
    private readonly partition: Partition,
    private readonly host: StorageHost,
    private readonly withdrawals: Withdrawals,
    private readonly operations: OperationLog,
    /** Durability 'sync': calls that are awaited resolve only when the journal holds what they have written. */
    private readonly awaitsDisk: boolean,
  ) {
    this.namespace = partition.table.namespace(CellKind.counter, id)
  }

  /**
   * Adds items. Always succeeds here and at once; other servers see it when it is durable here. With an
   * `operationId`, a second call with the same id changes nothing and gives a receipt of the first.
   * @throws InvalidArgumentError (nothing changed); NotRunningError; DiskFullError or JournalFailedError;
   * ConflictError when the operation id was used for something else
   */
  deposit(item: string | ItemKey, amount: number | bigint, options?: DepositOptions): Receipt {
    const quantity = checkAmount(amount)
    this.host.requireWritable()
    if (options) return this.depositOnce(item, quantity, options)
    const entry = this.entry(item)
    this.partition.own.deposit(entry, quantity)
    return this.written(entry, quantity)
  }

  private depositOnce(item: string | ItemKey, quantity: number | bigint, options: DepositOptions): Receipt {
    requireOptions(options, ['operationId'], 'deposit')
    const { operationId } = options
    const key = this.key(item)
    const content = `deposit ${quantity} ${key}`
    const known = operationId !== undefined && this.operations.find(this.id, operationId, content)
    if (known) return new Receipt(this.host, this.groupOfKnown(known.isPending), quantity)
    const entry = this.entry(key)
    if (operationId === undefined) this.partition.own.deposit(entry, quantity)
    else {
      const record = this.operations.write(this.id, operationId, content, '')
      this.partition.own.batch([{ entry, deposited: quantity }, record])
    }
    return this.written(entry, quantity)
  }

  /**
   * Takes items out within the tick, if this server's rights cover them: such a withdrawal is final, whatever
   * happens anywhere. Undefined, and nothing changed, when they do not: then `withdraw` may still succeed.
   * @throws InvalidArgumentError, NotRunningError, DiskFullError, JournalFailedError
   */
  tryWithdraw(item: string | ItemKey, amount: number | bigint): Withdrawal | undefined {
    const quantity = checkAmount(amount)
    this.host.requireWritable()
    const entry = this.namespace.entries.get(this.key(item))
    if (entry === undefined || !this.withdrawals.tryWithdraw(entry, quantity)) return undefined
    if (this.streams.size > 0) this.changed(entry)
    return new Withdrawal(this.host, this.host.groupOf(this.partition), quantity, undefined)
  }

  /**
   * Takes items out. Backed by rights it is final. Otherwise, by `mode`:
   * 'optimistic' (default): it succeeds at once as provisional, and settles when the missing rights have been
   * borrowed: `settled` tells whether it was confirmed or compensated.
   * 'backed': the rights are borrowed first, for up to `timeoutMs` (default 5,000).
   * With an `operationId`, a second call with the same id gives the first one's withdrawal.
   * With durability 'sync' it resolves once the withdrawal is durable here, else as soon as it is made; with a
   * `level`, when that is reached.
   *
   * Rejects, with nothing changed: InvalidArgumentError; InsufficientQuantityError when fewer are visible here;
   * InsufficientRightsError (mode 'backed'); ConflictError; OverloadedError; NotRunningError; DiskFullError,
   * JournalFailedError. With durability 'sync' also OutcomeUnknownError: taken here, and not durable when the disk
   * or the node ended the waiting. With a `level` what `Receipt.reached` rejects with: LevelNotReachedError says how
   * far it got. After these the withdrawal stands; repeat it only with the same `operationId`.
   */
  async withdraw(
    item: string | ItemKey,
    amount: number | bigint,
    options: WithdrawOptions = {},
  ): Promise<Withdrawal> {
    const { clock } = this.host.environment
    const { level, timeoutMs, signal, ...checked } = checkWithdrawOptions(options)
    const untilMs = clock.monotonicMs() + timeoutMs
    const withdrawal = await this.take(item, amount, { ...checked, timeoutMs, signal })
    if (withdrawal.isSimulated) return withdrawal
    if (this.awaitsDisk) await whenDurable(withdrawal)
    if (level === undefined) return withdrawal
    if (level === 'STRONG' && withdrawal.kind === 'provisional')
      throw new ConflictError(`operation ${options.operationId} was made before, and is not backed`)
    const leftMs = Math.max(0, untilMs - clock.monotonicMs())
    // What is backed is final: a majority is all that STRONG adds.
    await withdrawal.reached(level === 'STRONG' ? 'QUORUM' : level, {
      timeoutMs: leftMs,
      ...(signal && { signal }),
    })
    return withdrawal
  }

  private async take(
    item: string | ItemKey,
    amount: number | bigint,
    options: Omit<ReturnType<typeof checkWithdrawOptions>, 'level'>,
  ): Promise<Withdrawal> {
    const quantity = checkAmount(amount)
    const { mode, timeoutMs, signal, simulate, operationId } = options
    this.host.requireWritable()
    const key = this.key(item)
    if (simulate) return this.simulate(key, quantity)
    const content = `withdraw ${quantity} ${key}`
    const known = operationId !== undefined && this.operations.find(this.id, operationId, content)
    if (known) {
      const made = this.withdrawals.recall(this.id, known.withdrawalId)
      return new Withdrawal(this.host, this.groupOfKnown(known.isPending), quantity, made)
    }
    const id = this.host.withdrawalId()
    const beside =
      operationId === undefined ? undefined : this.operations.write(this.id, operationId, content, id)
    if (mode === 'optimistic') return this.withdrawAtOnce(key, quantity, id, beside)
    if (operationId !== undefined) this.requireNotUnderWay(operationId)
    const entry = this.knownEntry(key, quantity)
    if (operationId !== undefined) this.underWay.add(operationId)
    try {
      const place = { storage: this.id, item: key }
      const made = await this.withdrawals.withdrawBacked(place, quantity, id, { timeoutMs, signal, beside })
      if (this.streams.size > 0) this.changed(entry)
      return new Withdrawal(this.host, made.group, quantity, made)
    } finally {
      if (operationId !== undefined) this.underWay.delete(operationId)
    }
  }

  /**
   * The synchronous form of an optimistic `withdraw`: backed if the rights are here, else provisional, at once.
   * @throws what `withdraw` rejects with
   */
  withdrawNow(item: string | ItemKey, amount: number | bigint): Withdrawal {
    const taken = this.tryWithdraw(item, amount)
    if (taken) return taken
    return this.withdrawAtOnce(this.key(item), amount, this.host.withdrawalId(), undefined)
  }

  /**
   * Several deposits and withdrawals, in this storage and others of its partition, all or none: they are one
   * write, here, on disk and on every other server. All withdrawals must be within this server's rights; call
   * `withdraw` with mode 'backed' first, or try again, when they are not.
   * @throws InvalidArgumentError, InsufficientRightsError (nothing changed), ConflictError, NotRunningError,
   * DiskFullError, JournalFailedError
   */
  batch(writes: readonly BatchWrite[], options: DepositOptions = {}): Receipt {
    requireOptions(options, ['operationId'], 'batch')
    this.host.requireWritable()
    const { operationId } = options
    const content = operationId === undefined ? '' : batchContent(this.id, writes)
    const known = operationId !== undefined && this.operations.find(this.id, operationId, content)
    if (known) return new Receipt(this.host, this.groupOfKnown(known.isPending), 0)
    const prepared = prepareBatch(this.partition, this.id, writes)
    const record = operationId === undefined ? [] : [this.operations.write(this.id, operationId, content, '')]
    this.partition.own.batch([...prepared, ...record])
    for (const { entry } of prepared) this.host.changedHere(this.partition, entry)
    return new Receipt(this.host, this.host.groupOf(this.partition), 0)
  }

  private withdrawAtOnce(
    key: string,
    quantity: number | bigint,
    id: string,
    beside: OwnWrite | undefined,
  ): Withdrawal {
    const entry = this.knownEntry(key, quantity)
    const made = this.withdrawals.withdrawOptimistic({ storage: this.id, item: key }, quantity, id, beside)
    if (this.streams.size > 0) this.changed(entry)
    return new Withdrawal(this.host, made.group, quantity, made)
  }

  private knownEntry(key: string, quantity: number | bigint): number {
    const entry = this.namespace.entries.get(key)
    if (entry === undefined) throw new InsufficientQuantityError(BigInt(quantity), 0n, key)
    return entry
  }

  private requireNotUnderWay(operationId: string): void {
    if (this.underWay.has(operationId)) throw new ConflictError(`operation ${operationId} is still under way`)
  }

  /** The group commit of something that was written before: under way, or long durable. */
  private groupOfKnown(isPending: boolean): WriteGroup {
    if (isPending) return this.host.groupOf(this.partition)
    const { replica, known } = this.partition.ownReplica
    const group = new WriteGroup()
    group.durable.reach(undefined)
    group.numbered.reach({ partition: this.partition.name, replica, number: known })
    return group
  }

  private simulate(key: string, quantity: number | bigint): Withdrawal {
    const entry = this.namespace.entries.get(key)
    const foreseen = this.withdrawals.foresee(entry, quantity)
    if (foreseen === 'insufficient') {
      const visible = entry === undefined ? 0n : this.visible(entry)
      throw new InsufficientQuantityError(BigInt(quantity), visible, key)
    }
    return Withdrawal.simulated(this.host, quantity, foreseen)
  }

  /** How many are visible here: everything this server has seen. Never negative, 0 for what nobody deposited. */
  quantity(item: string | ItemKey): bigint {
    const entry = this.namespace.entries.get(this.key(item))
    return entry === undefined ? 0n : this.visible(entry)
  }

  /**
   * How many there are, as fresh as `level` says; see docs/consistency.md. LOCAL is `quantity`.
   * Rejects, with nothing changed: InvalidArgumentError; ReadLevelNotReachedError when not enough servers answer in
   * time, or this one does not catch up with them; AbortedError; OverloadedError; NotRunningError.
   */
  async read(item: string | ItemKey, options: ReadOptions): Promise<bigint> {
    checkReadOptions(options)
    const key = this.key(item)
    return this.host.read(this.partition, options, () => this.quantity(key))
  }

  /** All items with a visible quantity, as of one moment that is as fresh as `level` says. Rejects as `read` does. */
  async readItems(options: ReadOptions): Promise<ItemQuantity[]> {
    checkReadOptions(options)
    return this.host.read(this.partition, options, () => [...this.items()])
  }

  /** All items with a visible quantity, in no particular order; a live walk, not a copy. */
  *items(): IterableIterator<ItemQuantity> {
    for (const [item, entry] of this.namespace.entries) {
      const quantity = this.visible(entry)
      if (quantity > 0n) yield { item, quantity }
    }
  }

  /**
   * What changes from now on, by whomever. Each item at most once between two reads, with its quantity at the
   * time of reading: a slow reader skips steps in between, and never makes a queue grow. Ends with `signal`,
   * with the node, or when the loop is left.
   */
  changes(options: { readonly signal?: AbortSignal } = {}): AsyncIterableIterator<QuantityChange> {
    const read = (entry: number): QuantityChange => ({
      storage: this.id,
      item: this.partition.table.keyOf(entry),
      quantity: this.visible(entry),
    })
    const stream = new ChangeStream(read, (ended) => this.streams.delete(ended), options.signal)
    this.streams.add(stream)
    return stream
  }

  /** @internal The node saw an entry of this storage change. */
  changed(entry: number): void {
    for (const stream of this.streams) stream.push(entry)
  }

  /** @internal */
  end(): void {
    for (const stream of [...this.streams]) stream.end()
  }

  private written(entry: number, quantity: number | bigint): Receipt {
    if (this.streams.size > 0) this.changed(entry)
    return new Receipt(this.host, this.host.groupOf(this.partition), quantity)
  }

  private visible(entry: number): bigint {
    const total = this.partition.table.total(entry)
    return total > 0 ? BigInt(total) : 0n
  }

  private entry(item: string | ItemKey): number {
    const known = typeof item === 'string' ? this.namespace.entries.get(item) : undefined
    return known ?? this.partition.table.entry(this.namespace, this.key(item))
  }

  /** Text that is a known key already is canonical; everything else is checked. */
  private key(item: string | ItemKey): string {
    if (typeof item === 'string' && this.namespace.entries.has(item)) return item
    if (typeof item !== 'string' && (typeof item !== 'object' || item === null)) {
      throw new InvalidArgumentError('item: an item key is needed, a text like "minecraft:diamond"')
    }
    return canonicalItemKey(item)
  }
}

/** @throws OutcomeUnknownError */
async function whenDurable(withdrawal: Withdrawal): Promise<void> {
  try {
    await withdrawal.durable
  } catch (error) {
    const detail = `taken, but not on disk yet (${(error as Error).message}); repeat it only with its operationId`
    throw new OutcomeUnknownError(detail, { cause: error })
  }
}
