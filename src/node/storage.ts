import { CellKind } from '../crdt/cell.js'
import type { Namespace } from '../crdt/cell-table.js'
import type { Partition } from '../crdt/partition.js'
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
import { type NamedCall, NamedOperations } from './named-operations.js'
import type { OperationLog } from './operation-log.js'
import { type Operation, type OperationRecorder, operationsOf, type Who } from './operation-recorder.js'
import { Receipt } from './receipt.js'
import type { ItemQuantity, QuantityChange, StorageHost } from './storage-host.js'
import {
  type CheckedWithdrawOptions,
  checkWithdrawOptions,
  type OperationOptions,
  requireOptions,
  type WithdrawOptions,
} from './withdraw-options.js'
import { Withdrawal } from './withdrawal.js'
import type { MadeWithdrawal, Withdrawals } from './withdrawals.js'
import type { WriteGroup } from './write-group.js'

/** A named collection of items, shared by all servers that host its partition. */
export class Storage {
  private readonly namespace: Namespace
  private readonly streams = new Set<ChangeStream<number, QuantityChange>>()
  private readonly named: NamedOperations

  /** @internal */
  constructor(
    readonly id: string,
    /** The world whose partition it lives in; undefined: the shared one. */
    readonly world: string | undefined,
    private readonly partition: Partition,
    private readonly host: StorageHost,
    private readonly withdrawals: Withdrawals,
    operations: OperationLog,
    /** Durability 'sync': calls that are awaited resolve only when the journal holds what they have written. */
    private readonly awaitsDisk: boolean,
    /** Undefined: no ledger is kept. */
    private readonly recorder?: OperationRecorder,
  ) {
    this.namespace = partition.table.namespace(CellKind.counter, id)
    this.named = new NamedOperations(id, partition, host, withdrawals, operations)
  }

  /**
   * Adds items. Always succeeds here and at once; other servers see it when it is durable here. With an
   * `operationId`, a second call with the same id changes nothing and gives a receipt of the first.
   * @throws InvalidArgumentError (nothing changed); NotRunningError; DiskFullError or JournalFailedError;
   * ConflictError when the operation id was used for something else
   */
  deposit(item: string | ItemKey, amount: number | bigint, options?: OperationOptions): Receipt {
    const quantity = checkAmount(amount)
    if (options) requireOptions(options, ['operationId', 'by'], 'deposit')
    this.requireWritable('deposit', item, quantity, options)
    if (options?.operationId !== undefined) return this.depositOnce(item, quantity, options)
    const entry = this.entry(item)
    this.partition.own.deposit(entry, quantity)
    return this.deposited(entry, quantity, options)
  }

  private depositOnce(item: string | ItemKey, quantity: number | bigint, options: OperationOptions): Receipt {
    const key = this.key(item)
    const call = { operationId: options.operationId!, content: `deposit ${quantity} ${key}` }
    const known = this.named.receipt(call, quantity)
    if (known) return known
    const entry = this.entry(key)
    this.partition.own.batch([{ entry, deposited: quantity }, this.named.record(call)])
    return this.deposited(entry, quantity, options)
  }

  /**
   * Takes items out within the tick, if this server's rights cover them: such a withdrawal is final, whatever
   * happens anywhere. Undefined, and nothing changed, when they do not: then `withdraw` may still succeed. With an
   * `operationId`, a second call with the same id gives the first one's withdrawal.
   * @throws InvalidArgumentError, ConflictError, NotRunningError, DiskFullError, JournalFailedError
   */
  tryWithdraw(
    item: string | ItemKey,
    amount: number | bigint,
    options?: OperationOptions,
  ): Withdrawal | undefined {
    const quantity = checkAmount(amount)
    if (options) requireOptions(options, ['operationId', 'by'], 'tryWithdraw')
    this.requireWritable('withdraw', item, quantity, options)
    const operationId = options?.operationId
    const call = operationId === undefined ? undefined : withdrawCall(operationId, quantity, this.key(item))
    const known = this.named.withdrawal(call, quantity)
    if (known) return known
    const { entries } = this.namespace
    const entry = (typeof item === 'string' ? entries.get(item) : undefined) ?? entries.get(this.key(item))
    const beside = call && (() => this.named.record(call))
    if (entry === undefined || !this.withdrawals.tryWithdraw(entry, quantity, beside)) return undefined
    return this.withdrawn(entry, quantity, this.host.groupOf(this.partition), undefined, options)
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
    const quantity = checkAmount(amount)
    const key = this.key(item)
    let withdrawal: Withdrawal
    try {
      this.host.requireWritable()
      if (checked.simulate) return this.simulate(key, quantity)
      withdrawal = await this.take(key, quantity, { ...checked, timeoutMs, signal })
    } catch (error) {
      if (!checked.simulate)
        this.recorder?.refused([this.operation('withdraw', key, quantity)], options, error)
      throw error
    }
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
    key: string,
    quantity: number | bigint,
    options: Omit<CheckedWithdrawOptions, 'level'>,
  ): Promise<Withdrawal> {
    const { mode, timeoutMs, signal } = options
    const call = withdrawCall(options.operationId, quantity, key)
    const known = this.named.withdrawal(call, quantity)
    if (known) return known
    if (mode === 'optimistic') return this.withdrawAtOnce(key, quantity, call, options)
    const entry = this.knownEntry(key, quantity)
    const id = this.host.withdrawalId()
    const beside = call && (() => this.named.record(call, id))
    const place = { storage: this.id, item: key }
    const made = await this.named.alone(call, () =>
      this.withdrawals.withdrawBacked(place, quantity, id, { timeoutMs, signal, beside }),
    )
    return this.withdrawn(entry, quantity, made.group, made, options)
  }

  /**
   * The synchronous form of an optimistic `withdraw`: backed if the rights are here, else provisional, at once.
   * @throws what `withdraw` rejects with
   */
  withdrawNow(item: string | ItemKey, amount: number | bigint, options?: OperationOptions): Withdrawal {
    const taken = this.tryWithdraw(item, amount, options)
    if (taken) return taken
    const key = this.key(item)
    try {
      return this.withdrawAtOnce(key, amount, withdrawCall(options?.operationId, amount, key), options)
    } catch (error) {
      this.recorder?.refused([this.operation('withdraw', key, amount)], options, error)
      throw error
    }
  }

  /**
   * Several deposits and withdrawals, in this storage and others of its partition, all or none: they are one
   * write, here, on disk and on every other server. All withdrawals must be within this server's rights; call
   * `withdraw` with mode 'backed' first, or try again, when they are not.
   * @throws InvalidArgumentError, InsufficientRightsError (nothing changed), ConflictError, NotRunningError,
   * DiskFullError, JournalFailedError
   */
  batch(writes: readonly BatchWrite[], options: OperationOptions = {}): Receipt {
    requireOptions(options, ['operationId', 'by'], 'batch')
    try {
      this.host.requireWritable()
      return this.writeTogether(writes, options)
    } catch (error) {
      this.recorder?.refused(operationsOf(this.id, this.world, writes), options, error)
      throw error
    }
  }

  private writeTogether(writes: readonly BatchWrite[], options: OperationOptions): Receipt {
    const { operationId } = options
    const call =
      operationId === undefined ? undefined : { operationId, content: batchContent(this.id, writes) }
    const known = this.named.receipt(call, 0)
    if (known) return known
    const spendable = (entry: number) => this.withdrawals.spendable(entry)
    const prepared = prepareBatch(this.partition, this.id, writes, spendable)
    this.partition.own.batch(call ? [...prepared, this.named.record(call)] : prepared)
    for (const { entry } of prepared) this.host.changedHere(this.partition, entry)
    const group = this.host.groupOf(this.partition)
    this.recorder?.madeTogether(operationsOf(this.id, this.world, writes), options, group)
    return new Receipt(this.host, group, 0)
  }

  private withdrawAtOnce(
    key: string,
    quantity: number | bigint,
    call: NamedCall | undefined,
    who: Who | undefined,
  ): Withdrawal {
    const entry = this.knownEntry(key, quantity)
    const id = this.host.withdrawalId()
    const beside = call && (() => this.named.record(call, id))
    const made = this.withdrawals.withdrawOptimistic({ storage: this.id, item: key }, quantity, id, beside)
    return this.withdrawn(entry, quantity, made.group, made, who)
  }

  private withdrawn(
    entry: number,
    quantity: number | bigint,
    group: WriteGroup,
    made: MadeWithdrawal | undefined,
    who: Who | undefined,
  ): Withdrawal {
    if (this.streams.size > 0) this.changed(entry)
    if (this.recorder) this.recorder.made(this.operationOn('withdraw', entry, quantity), who, group, made)
    return new Withdrawal(this.host, group, quantity, made)
  }

  private knownEntry(key: string, quantity: number | bigint): number {
    const entry = this.namespace.entries.get(key)
    if (entry === undefined) throw new InsufficientQuantityError(BigInt(quantity), 0n, key)
    return entry
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

  private deposited(entry: number, quantity: number | bigint, who: Who | undefined): Receipt {
    if (this.streams.size > 0) this.changed(entry)
    const group = this.host.groupOf(this.partition)
    if (this.recorder) this.recorder.made(this.operationOn('deposit', entry, quantity), who, group)
    return new Receipt(this.host, group, quantity)
  }

  /** As the host requires it; what is refused is written down. */
  private requireWritable(
    type: Operation['type'],
    item: string | ItemKey,
    amount: number | bigint,
    who: Who | undefined,
  ): void {
    try {
      this.host.requireWritable()
    } catch (error) {
      this.recorder?.refused([this.operation(type, this.key(item), amount)], who, error)
      throw error
    }
  }

  private operationOn(type: Operation['type'], entry: number, amount: number | bigint): Operation {
    return this.operation(type, this.partition.table.keyOf(entry), amount)
  }

  private operation(type: Operation['type'], item: string, amount: number | bigint): Operation {
    return { type, storage: this.id, world: this.world, item, amount }
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

/** The same content for every kind of call, since a retry may ask for it in another way. */
function withdrawCall(
  operationId: string | undefined,
  quantity: number | bigint,
  key: string,
): NamedCall | undefined {
  return operationId === undefined ? undefined : { operationId, content: `withdraw ${quantity} ${key}` }
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
