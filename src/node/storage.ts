import { CellKind } from '../crdt/cell.js'
import type { Namespace } from '../crdt/cell-table.js'
import type { OwnWrite } from '../crdt/own-writes.js'
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
import type { OperationLog } from './operation-log.js'
import {
  type ByOption,
  type Operation,
  type OperationRecorder,
  operationsOf,
  type Who,
} from './operation-recorder.js'
import { Receipt } from './receipt.js'
import type { ItemQuantity, QuantityChange, StorageHost } from './storage-host.js'
import {
  type CheckedWithdrawOptions,
  checkWithdrawOptions,
  type DepositOptions,
  requireOptions,
  type WithdrawOptions,
} from './withdraw-options.js'
import { Withdrawal } from './withdrawal.js'
import type { MadeWithdrawal, Withdrawals } from './withdrawals.js'
import { WriteGroup } from './write-group.js'

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
    /** Undefined: no ledger is kept. */
    private readonly recorder?: OperationRecorder,
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
    if (options) requireOptions(options, ['operationId', 'by'], 'deposit')
    this.requireWritable('deposit', item, quantity, options)
    if (options?.operationId !== undefined) return this.depositOnce(item, quantity, options)
    const entry = this.entry(item)
    this.partition.own.deposit(entry, quantity)
    return this.deposited(entry, quantity, options)
  }

  private depositOnce(item: string | ItemKey, quantity: number | bigint, options: DepositOptions): Receipt {
    const operationId = options.operationId!
    const key = this.key(item)
    const content = `deposit ${quantity} ${key}`
    const known = this.operations.find(this.id, operationId, content)
    if (known) return new Receipt(this.host, this.groupOfKnown(known.isPending), quantity)
    const entry = this.entry(key)
    const record = this.operations.write(this.id, operationId, content, '')
    this.partition.own.batch([{ entry, deposited: quantity }, record])
    return this.deposited(entry, quantity, options)
  }

  /**
   * Takes items out within the tick, if this server's rights cover them: such a withdrawal is final, whatever
   * happens anywhere. Undefined, and nothing changed, when they do not: then `withdraw` may still succeed.
   * @throws InvalidArgumentError, NotRunningError, DiskFullError, JournalFailedError
   */
  tryWithdraw(item: string | ItemKey, amount: number | bigint, options?: ByOption): Withdrawal | undefined {
    const quantity = checkAmount(amount)
    if (options) requireOptions(options, ['by'], 'tryWithdraw')
    this.requireWritable('withdraw', item, quantity, options)
    const { entries } = this.namespace
    const entry = (typeof item === 'string' ? entries.get(item) : undefined) ?? entries.get(this.key(item))
    if (entry === undefined || !this.withdrawals.tryWithdraw(entry, quantity)) return undefined
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
    const { mode, timeoutMs, signal, operationId } = options
    const content = `withdraw ${quantity} ${key}`
    const known = operationId !== undefined && this.operations.find(this.id, operationId, content)
    if (known) {
      const made = this.withdrawals.recall(this.id, known.withdrawalId)
      return new Withdrawal(this.host, this.groupOfKnown(known.isPending), quantity, made)
    }
    const id = this.host.withdrawalId()
    const beside =
      operationId === undefined ? undefined : this.operations.write(this.id, operationId, content, id)
    if (mode === 'optimistic') return this.withdrawAtOnce(key, quantity, id, beside, options)
    if (operationId !== undefined) this.requireNotUnderWay(operationId)
    const entry = this.knownEntry(key, quantity)
    if (operationId !== undefined) this.underWay.add(operationId)
    try {
      const place = { storage: this.id, item: key }
      const made = await this.withdrawals.withdrawBacked(place, quantity, id, { timeoutMs, signal, beside })
      return this.withdrawn(entry, quantity, made.group, made, options)
    } finally {
      if (operationId !== undefined) this.underWay.delete(operationId)
    }
  }

  /**
   * The synchronous form of an optimistic `withdraw`: backed if the rights are here, else provisional, at once.
   * @throws what `withdraw` rejects with
   */
  withdrawNow(item: string | ItemKey, amount: number | bigint, options?: ByOption): Withdrawal {
    const taken = this.tryWithdraw(item, amount, options)
    if (taken) return taken
    const key = this.key(item)
    try {
      return this.withdrawAtOnce(key, amount, this.host.withdrawalId(), undefined, options)
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
  batch(writes: readonly BatchWrite[], options: DepositOptions = {}): Receipt {
    requireOptions(options, ['operationId', 'by'], 'batch')
    try {
      this.host.requireWritable()
      return this.writeTogether(writes, options)
    } catch (error) {
      this.recorder?.refused(operationsOf(this.id, this.world, writes), options, error)
      throw error
    }
  }

  private writeTogether(writes: readonly BatchWrite[], options: DepositOptions): Receipt {
    const { operationId } = options
    const content = operationId === undefined ? '' : batchContent(this.id, writes)
    const known = operationId !== undefined && this.operations.find(this.id, operationId, content)
    if (known) return new Receipt(this.host, this.groupOfKnown(known.isPending), 0)
    const spendable = (entry: number) => this.withdrawals.spendable(entry)
    const prepared = prepareBatch(this.partition, this.id, writes, spendable)
    const record = operationId === undefined ? [] : [this.operations.write(this.id, operationId, content, '')]
    this.partition.own.batch([...prepared, ...record])
    for (const { entry } of prepared) this.host.changedHere(this.partition, entry)
    const group = this.host.groupOf(this.partition)
    this.recorder?.madeTogether(operationsOf(this.id, this.world, writes), options, group)
    return new Receipt(this.host, group, 0)
  }

  private withdrawAtOnce(
    key: string,
    quantity: number | bigint,
    id: string,
    beside: OwnWrite | undefined,
    who: Who | undefined,
  ): Withdrawal {
    const entry = this.knownEntry(key, quantity)
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

/** @throws OutcomeUnknownError */
async function whenDurable(withdrawal: Withdrawal): Promise<void> {
  try {
    await withdrawal.durable
  } catch (error) {
    const detail = `taken, but not on disk yet (${(error as Error).message}); repeat it only with its operationId`
    throw new OutcomeUnknownError(detail, { cause: error })
  }
}
