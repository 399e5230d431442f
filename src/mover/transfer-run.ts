import { CellKind } from '../crdt/cell.js'
import type { Namespace } from '../crdt/cell-table.js'
import type { Partition } from '../crdt/partition.js'
import { lesser, type Quantity } from '../crdt/rights.js'
import { Budget } from './budget.js'
import { Candidates } from './candidates.js'

/** What a transfer moves, from where to where. */
export interface Route {
  /** Ids of storages, never the same. */
  readonly source: string
  readonly target: string
  /** Items per second, at most. */
  readonly rate: number
  /** Whether an item, by its canonical key, is to be moved. */
  matches(item: string): boolean
}

/** Items that were moved, as one batch. */
export interface Move {
  readonly transferId: string
  readonly source: string
  readonly target: string
  readonly item: string
  readonly amount: number
}

export interface MoverPorts {
  readonly partition: Partition
  /** Own rights to a kind of item that no withdrawal under way needs. */
  available(entry: number): Quantity
  /** So many wait here: rights to them are to be attracted, as withdrawals would. Said again while they wait. */
  wanted(entry: number, amount: Quantity): void
  /** Items were moved; `from` and `to` are the entries. */
  moved(move: Move, from: number, to: number): void
}

/** Between two visits while there is something to move: so often, at most, it moves. */
export const VISIT_US = 250_000
/** What waits for rights is looked at again after this, doubled while nothing comes. A grant wakes it at once. */
const RETRY_MIN_US = 250_000
const RETRY_MAX_US = 5_000_000

/** What one visit did, and when the next one is due; undefined: when something changes. */
export interface Visit {
  readonly looks: number
  readonly nextUs: number | undefined
}

/** One transfer that this server runs. */
export class TransferRun {
  readonly source: Namespace
  /** Items that were moved. */
  moved = 0n
  private readonly candidates: Candidates
  private readonly budget: Budget
  private retryUs = RETRY_MIN_US
  private visitedUs = Number.NEGATIVE_INFINITY

  constructor(
    private readonly ports: MoverPorts,
    readonly transferId: string,
    readonly route: Route,
    nowUs: number,
    /** The same transfer as it was until now: it gets no second burst. */
    before?: TransferRun,
  ) {
    const { table } = ports.partition
    this.source = table.namespace(CellKind.counter, route.source)
    this.candidates = new Candidates(() => this.source.entries.values())
    this.budget = before?.budget ?? new Budget(route.rate, nowUs)
    this.budget.setRate(route.rate, nowUs)
  }

  /** Kinds of items that are there and wait for the rights to them. */
  get waiting(): number {
    return this.candidates.waitingCount
  }

  /** When it should be visited for something that has changed just now. */
  readyAtUs(nowUs: number): number {
    const creditUs = this.budget.available(nowUs) > 0 ? nowUs : this.budget.readyAtUs()
    // Many small changes are one visit's work.
    return Math.max(creditUs, this.visitedUs + VISIT_US)
  }

  /** So much has changed that all kinds are to be looked at. */
  walk(): void {
    this.candidates.walk()
    this.retryUs = RETRY_MIN_US
  }

  /** A kind of item that it moves has changed. */
  mark(entry: number): void {
    this.candidates.mark(entry)
    this.retryUs = RETRY_MIN_US
  }

  /** Moves what it may, looking at no more than `limit` kinds. */
  visit(nowUs: number, limit: number): Visit {
    this.visitedUs = nowUs
    let credit = this.budget.available(nowUs)
    let looks = 1
    const before = this.moved
    while (credit > 0 && looks <= limit) {
      const entry = this.candidates.next()
      if (entry === undefined) return { looks, nextUs: this.whenAllSeen(nowUs, this.moved > before) }
      looks += 1
      credit -= this.take(entry, credit)
    }
    const nextUs = credit > 0 ? nowUs : Math.max(nowUs + VISIT_US, this.budget.readyAtUs())
    return { looks, nextUs }
  }

  private whenAllSeen(nowUs: number, hasMoved: boolean): number | undefined {
    if (!this.candidates.isWaiting) return undefined
    const inUs = hasMoved ? RETRY_MIN_US : this.retryUs
    this.retryUs = Math.min(RETRY_MAX_US, 2 * inUs)
    this.candidates.retry()
    return nowUs + inUs
  }

  /** Moves as many of one kind as there are, as the rights cover, and as the rate allows. Returns how many. */
  private take(entry: number, credit: number): number {
    const { available, partition, wanted } = this.ports
    const total = partition.table.total(entry)
    if (total <= 0) return 0
    const item = partition.table.keyOf(entry)
    if (!this.route.matches(item)) return 0
    // Never more than the credit, which is a number.
    const most = Number(lesser(total, credit))
    const backed = available(entry)
    const amount = backed <= 0 ? 0 : Number(lesser(backed, most))
    if (amount > 0) this.move(entry, item, amount)
    if (amount === most && total > most) this.candidates.mark(entry)
    if (amount < most) {
      this.candidates.wait(entry)
      wanted(entry, most - amount)
    }
    return amount
  }

  /** One batch: withdrawn there and deposited here, or neither, on every server and after every crash (T1). */
  private move(from: number, item: string, amount: number): void {
    const { partition } = this.ports
    const { source, target } = this.route
    const to = partition.table.entry(partition.table.namespace(CellKind.counter, target), item)
    partition.own.batch([
      { entry: from, withdrawn: amount },
      { entry: to, deposited: amount },
    ])
    this.budget.spend(amount)
    this.moved += BigInt(amount)
    this.ports.moved({ transferId: this.transferId, source, target, item, amount }, from, to)
  }
}
