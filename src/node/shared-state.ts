import { CellKind, type ObjectValue } from '../crdt/cell.js'
import { compareTimestamps, HybridClock, type HybridTimestamp } from '../crdt/hybrid-clock.js'
import { MAX_KEY_LENGTH, MAX_OBJECT_BYTES } from '../crdt/limits.js'
import { isExpired, type Partition } from '../crdt/partition.js'
import type { Clock } from '../environment/environment.js'
import { InvalidArgumentError } from '../sync/errors.js'
import { isWellFormed } from '../wire/encode.js'
import type { WireValue } from '../wire/wire-value.js'
import { Receipt, type ReceiptHost } from './receipt.js'
import type { WriteGroup } from './write-group.js'

export interface SharedStateHost extends ReceiptHost {
  requireWritable(): void
  groupOf(partition: Partition): WriteGroup
}

/**
 * Small values under a key that every server may set: the last writer by hybrid logical clock wins, ties by
 * replica id. For hints and settings, not for quantities.
 */
export class SharedState {
  private readonly clock: HybridClock

  constructor(
    private readonly shared: Partition,
    private readonly wall: Clock,
    private readonly host: SharedStateHost,
  ) {
    this.clock = new HybridClock(() => wall.wallMs())
  }

  /** @throws InvalidArgumentError for a bad key, value or time to live */
  set(key: string, value: Uint8Array | undefined, timeToLiveMs: number | undefined): Receipt {
    if (typeof key !== 'string' || key.length === 0 || key.length > MAX_KEY_LENGTH || !isWellFormed(key)) {
      throw new InvalidArgumentError(`state key: 1 to ${MAX_KEY_LENGTH} characters of well-formed text`)
    }
    if (value !== undefined && (!(value instanceof Uint8Array) || value.length > MAX_OBJECT_BYTES)) {
      throw new InvalidArgumentError(`state value: a Uint8Array of at most ${MAX_OBJECT_BYTES} bytes`)
    }
    if (timeToLiveMs !== undefined && !(Number.isSafeInteger(timeToLiveMs) && timeToLiveMs > 0)) {
      throw new InvalidArgumentError('timeToLiveMs: a positive whole number of milliseconds')
    }
    this.host.requireWritable()
    const entry = this.shared.table.entry(this.shared.table.namespace(CellKind.register, ''), key)
    const { wallMs, counter } = this.timeAfter(this.winner(entry)?.time)
    const expiresAtMs = timeToLiveMs === undefined ? 0 : Math.floor(this.wall.wallMs()) + timeToLiveMs
    const copy = value === undefined ? null : Uint8Array.from(value)
    this.shared.own.setObject(entry, [expiresAtMs, wallMs, counter, copy])
    return new Receipt(this.host, this.host.groupOf(this.shared), 0)
  }

  get(key: string): Uint8Array | undefined {
    const entry = this.shared.table.findNamespace(CellKind.register, '')?.entries.get(key)
    if (entry === undefined) return undefined
    const winner = this.winner(entry)
    if (!winner || isExpired(winner.value, this.wall.wallMs())) return undefined
    const bytes = winner.value[3]
    return bytes instanceof Uint8Array ? Uint8Array.from(bytes) : undefined
  }

  /**
   * A value that was seen must never win over one that is set after it was seen. One from so far in the future
   * that the clock does not follow it is outbid by one count, for this key alone.
   */
  private timeAfter(seen: HybridTimestamp | undefined): HybridTimestamp {
    if (seen) this.clock.observe(seen)
    const next = this.clock.next()
    if (!seen || compareTimestamps(next, seen) > 0) return next
    return { wallMs: seen.wallMs, counter: seen.counter + 1 }
  }

  private winner(entry: number): Version | undefined {
    const own = this.shared.own.pendingObject(entry)
    let best = own && readVersion(own, this.shared.ownReplica.replica)
    for (const cell of this.shared.table.cellsOf(entry)) {
      const writer = this.shared.replicaAt(this.shared.table.replicaOf(cell))
      const version = readVersion(this.shared.table.objectValue(cell), writer)
      if (version && (!best || isLater(version, best))) best = version
    }
    return best
  }
}

interface Version {
  readonly value: ObjectValue
  readonly time: HybridTimestamp
  readonly writer: string
}

/** Undefined for a value that this version cannot read. */
function readVersion(value: readonly WireValue[], writer: string): Version | undefined {
  const [, wallMs, counter] = value
  if (typeof wallMs !== 'number' || typeof counter !== 'number') return undefined
  return { value: value as ObjectValue, time: { wallMs, counter }, writer }
}

function isLater(left: Version, right: Version): boolean {
  const order = compareTimestamps(left.time, right.time)
  return order > 0 || (order === 0 && left.writer > right.writer)
}
