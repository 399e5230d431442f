import { CellKind } from '../crdt/cell.js'
import type { Namespace } from '../crdt/cell-table.js'
import type { Partition } from '../crdt/partition.js'
import { checkAmount } from '../sync/checks.js'
import { InsufficientQuantityError, InvalidArgumentError } from '../sync/errors.js'
import { canonicalItemKey, type ItemKey } from '../sync/item-key.js'
import { ChangeStream } from './change-stream.js'
import { Receipt, type ReceiptHost } from './receipt.js'
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
  /** @throws NotRunningError, DiskFullError, JournalFailedError when no write can be taken. */
  requireWritable(): void
  groupOf(partition: Partition): WriteGroup
}

/** A named collection of items, shared by all servers that host its partition. */
export class Storage {
  private readonly namespace: Namespace
  private readonly streams = new Set<ChangeStream<number, QuantityChange>>()

  /** @internal */
  constructor(
    readonly id: string,
    /** The world whose partition it lives in; undefined: the shared one. */
    readonly world: string | undefined,
    private readonly partition: Partition,
    private readonly host: StorageHost,
  ) {
    this.namespace = partition.table.namespace(CellKind.counter, id)
  }

  /**
   * Adds items. Always succeeds here and at once; other servers see it when it is durable here.
   * @throws InvalidArgumentError (nothing changed); NotRunningError; DiskFullError or JournalFailedError
   */
  deposit(item: string | ItemKey, amount: number | bigint): Receipt {
    const quantity = checkAmount(amount)
    this.host.requireWritable()
    const entry = this.entry(item)
    this.partition.own.deposit(entry, quantity)
    return this.written(entry, quantity)
  }

  /**
   * Takes items out, if as many are visible here.
   * @throws InsufficientQuantityError (nothing changed) and what `deposit` throws
   */
  withdraw(item: string | ItemKey, amount: number | bigint): Receipt {
    const quantity = checkAmount(amount)
    this.host.requireWritable()
    const key = this.key(item)
    const entry = this.namespace.entries.get(key)
    const visible = entry === undefined ? 0 : this.partition.table.total(entry)
    if (entry === undefined || visible < quantity) {
      throw new InsufficientQuantityError(BigInt(quantity), visible > 0 ? BigInt(visible) : 0n, key)
    }
    this.partition.own.withdraw(entry, quantity)
    return this.written(entry, quantity)
  }

  /** How many are visible here: everything this server has seen. Never negative, 0 for what nobody deposited. */
  quantity(item: string | ItemKey): bigint {
    const entry = this.namespace.entries.get(this.key(item))
    return entry === undefined ? 0n : this.visible(entry)
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
