import type { Partition } from '../crdt/partition.js'
import type { Environment, Timer } from '../environment/environment.js'
import { Mover, type RunProgress } from '../mover/mover.js'
import type { Move, Route } from '../mover/transfer-run.js'
import { matchesItem } from '../registry/item-patterns.js'
import { lastSegment } from '../registry/keys.js'
import type { Registry } from '../registry/registry.js'
import type { Transfer } from '../registry/transfer.js'
import { FrameError } from '../sync/errors.js'
import type { EncodedDelta } from './committer.js'
import type { Withdrawals } from './withdrawals.js'

/** Why a transfer that this server owns moves nothing. */
export type PauseReason =
  /** `enabled: false`. */
  | 'disabled'
  /** `runTransfers: false`: the application moves its items, or nobody does. */
  | 'left-to-application'
  /** Both anchors open the same storage. */
  | 'same-storage'
  /** An anchor is gone, or a later version of this program has written it. */
  | 'no-anchor'

/** A transfer that this server owns and runs. */
export interface TransferProgress {
  readonly transferId: string
  readonly state: RunProgress['state'] | PauseReason
  /** Items moved since this server took the transfer over. */
  readonly moved: bigint
  /** Kinds of items that are visible in the source and wait for rights; counted up to 1,024. */
  readonly waiting: number
}

export interface TransferRunnerOptions {
  /** The shared one: anchors open storages of this partition alone, so every move is within one partition. */
  readonly partition: Partition
  readonly environment: Pick<Environment, 'clock' | 'scheduler'>
  readonly registry: Registry
  /** False: the application runs them (`MeshNode.ownedTransfers`). */
  readonly run: boolean
  readonly withdrawals: Withdrawals
  /** Whether own writes are taken. */
  readonly canWrite: () => boolean
  /** Own writes were made to these entries: they are to be flushed, and told to whoever follows them. */
  readonly moved: (move: Move, from: number, to: number) => void
}

interface Owned {
  readonly transfer: Transfer
  state: PauseReason | undefined
  /** Moved before it was paused. */
  movedBefore: bigint
}

/** While no writes are taken: full disk, overload. */
const PAUSE_MS = 1_000

/** Gives the mover its time, the transfers that this server owns, and the news of their sources. */
export class TransferRunner {
  private readonly mover: Mover
  private readonly owned = new Map<string, Owned>()
  /** Anchor → owned transfers at it. */
  private readonly atAnchor = new Map<string, Set<string>>()
  private timer: Timer | undefined
  private timerUs = Number.POSITIVE_INFINITY
  private soon = false
  private stopped = false
  /** Items moved by this server since it started. */
  moved = 0n

  constructor(private readonly options: TransferRunnerOptions) {
    const { partition, registry, withdrawals } = options
    this.mover = new Mover({
      partition,
      available: (entry) => withdrawals.available(entry),
      wanted: (entry, amount) => withdrawals.wanted(entry, amount),
      moved: (move, from, to) => {
        this.moved += BigInt(move.amount)
        withdrawals.took(from, move.amount)
        options.moved(move, from, to)
      },
    })
    registry.ownership.on('acquired', ({ transfer }) => this.take(transfer))
    registry.ownership.on('updated', ({ transfer }) => this.take(transfer))
    registry.ownership.on('lost', ({ transferId }) => this.lose(transferId))
    registry.feed.listen(({ type, previous, current }) => {
      if (type === 'anchor') this.anchorChanged(lastSegment((current ?? previous)!.key))
    })
  }

  stop(): void {
    this.stopped = true
    this.timer?.cancel()
  }

  /** How many transfers this server owns. */
  get count(): number {
    return this.owned.size
  }

  progress(): TransferProgress[] {
    return [...this.owned.keys()].map((transferId) => this.progressOf(transferId)!)
  }

  /** Undefined when this server does not own it. */
  progressOf(transferId: string): TransferProgress | undefined {
    const owned = this.owned.get(transferId)
    if (!owned) return undefined
    const run = this.mover.progress(transferId)
    if (run) return { transferId, ...run }
    return { transferId, state: owned.state!, moved: owned.movedBefore, waiting: 0 }
  }

  /** A merge has changed an entry. */
  changed(partition: Partition, entry: number): void {
    if (partition !== this.options.partition || this.mover.isIdle) return
    this.mover.changed(entry)
    this.schedule()
  }

  /** Own writes have become durable. */
  committed(partition: Partition, deltas: readonly EncodedDelta[]): void {
    if (partition !== this.options.partition || this.mover.isIdle) return
    for (const { delta } of deltas) {
      for (const { kind, namespace, key } of delta.cells) if (kind === 0) this.mover.changedAt(namespace, key)
    }
    this.schedule()
  }

  private take(transfer: Transfer): void {
    const { id, from, to } = transfer
    const before = this.owned.get(id)
    const movedBefore = this.mover.progress(id)?.moved ?? before?.movedBefore ?? 0n
    const route = this.routeOf(transfer)
    const paused = typeof route === 'string'
    this.owned.set(id, { transfer, state: paused ? route : undefined, movedBefore })
    for (const anchor of [from, to]) {
      const transfers = this.atAnchor.get(anchor) ?? new Set()
      this.atAnchor.set(anchor, transfers.add(id))
    }
    if (paused) this.mover.stop(id)
    else this.mover.run(id, route, this.nowUs(), movedBefore)
    this.schedule()
  }

  private lose(id: string): void {
    const owned = this.owned.get(id)
    if (!owned) return
    this.owned.delete(id)
    this.mover.stop(id)
    for (const anchor of [owned.transfer.from, owned.transfer.to]) {
      const transfers = this.atAnchor.get(anchor)
      transfers?.delete(id)
      if (transfers?.size === 0) this.atAnchor.delete(anchor)
    }
  }

  /** It may open another storage now. */
  private anchorChanged(anchor: string): void {
    for (const id of this.atAnchor.get(anchor) ?? []) this.take(this.owned.get(id)!.transfer)
  }

  private routeOf(transfer: Transfer): Route | PauseReason {
    const { enabled, from, items, rate, to } = transfer
    if (!this.options.run) return 'left-to-application'
    if (!enabled) return 'disabled'
    const source = this.storageOf(from)
    const target = this.storageOf(to)
    if (source === undefined || target === undefined) return 'no-anchor'
    if (source === target) return 'same-storage'
    return { source, target, rate, matches: (item) => matchesItem(items, item) }
  }

  private storageOf(anchor: string): string | undefined {
    try {
      return this.options.registry.anchors.peek(anchor)?.storage
    } catch (error) {
      if (error instanceof FrameError) return undefined
      throw error
    }
  }

  private step(): void {
    if (this.stopped) return
    const { canWrite, registry } = this.options
    if (!canWrite()) {
      this.wake(this.nowUs() + PAUSE_MS * 1_000)
      return
    }
    // Looks at the clock: what a process that stood still has lost meanwhile is lost before it moves on.
    registry.ownership.owned()
    this.mover.step(this.nowUs())
    this.schedule()
  }

  private schedule(): void {
    const nextUs = this.mover.nextUs()
    if (nextUs !== undefined) this.wake(nextUs)
  }

  private wake(atUs: number): void {
    if (this.stopped || this.soon) return
    const { scheduler } = this.options.environment
    const nowUs = this.nowUs()
    if (atUs <= nowUs) {
      this.soon = true
      scheduler.soon(() => {
        this.soon = false
        this.step()
      })
      return
    }
    if (this.timer && this.timerUs <= atUs) return
    this.timer?.cancel()
    this.timerUs = atUs
    this.timer = scheduler.after((atUs - nowUs) / 1_000, () => {
      this.timer = undefined
      this.step()
    })
  }

  private nowUs(): number {
    return Math.floor(this.options.environment.clock.monotonicMs() * 1_000)
  }
}
