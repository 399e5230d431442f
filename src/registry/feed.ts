import type { KeyEvent, KeyValue } from '../raft/state-machine/key-value-store.js'
import type { StrongChange, StrongStore } from '../strong/strong-store.js'
import { FrameError } from '../sync/errors.js'
import { MAX_SERVER_ID_LENGTH } from '../sync/identity.js'
import type { Logger } from '../sync/logger.js'
import { expectString, expectUint } from '../wire/expect.js'
import { decodeTuple } from '../wire/safe-cbor.js'
import { type Anchor, anchorOf } from './anchor.js'
import { ANCHOR_PREFIX, DELETION_KEY, ENTITY_PREFIX, lastSegment, TRANSFER_PREFIX } from './keys.js'
import { type Transfer, transferOf } from './transfer.js'
import { WatchStream } from './watch-stream.js'

/** What became of an anchor or a transfer. */
export type EntityChange<T> =
  | { readonly kind: 'created'; readonly entity: T }
  | { readonly kind: 'updated'; readonly entity: T; readonly previous: T }
  /** `entity`: as it was last known here. */
  | { readonly kind: 'deleted'; readonly entity: T }

/** A change as the store has it. `previous` and `current` as last known and as it is; one of them at least. */
export interface StoredChange {
  readonly type: 'anchor' | 'transfer'
  readonly previous: KeyValue | undefined
  readonly current: KeyValue | undefined
  /** Who deleted it and when; unknown when the deletion itself was missed. */
  readonly deletion: { readonly origin: string; readonly atMs: number } | undefined
}

/**
 * All changes of anchors and transfers in the order in which they happened, from one watch on the store. It keeps
 * what it has told (references to what the store has anyway), so that after a reset, when the store has jumped
 * over changes, it tells the difference between then and now: whoever follows ends up with what is there.
 */
export class RegistryFeed {
  private readonly known = new Map<string, KeyValue>()
  private readonly listeners = new Set<(change: StoredChange) => void>()
  private readonly streams = new Set<{ end(): void }>()
  private stopWatching: (() => void) | undefined
  private deletion: { origin: string; atMs: number; revision: number } | undefined
  private stopped = false

  constructor(private readonly options: { readonly store: StrongStore; readonly logger: Logger }) {}

  /** What is there by now is known; changes from here on are told. */
  start(): void {
    const { store } = this.options
    this.stopWatching = store.watch(ENTITY_PREFIX, (change) => this.changed(change))
    for (const [key, entry] of this.read()) this.known.set(key, entry)
  }

  stop(): void {
    this.stopped = true
    this.stopWatching?.()
    for (const stream of this.streams) stream.end()
    this.known.clear()
  }

  /** The listener must not throw. Returns the function that ends it. */
  listen(listener: (change: StoredChange) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** As last told, in no order. */
  *transferIds(): Iterable<string> {
    for (const key of this.known.keys()) if (key.startsWith(TRANSFER_PREFIX)) yield lastSegment(key)
  }

  watchAnchors(signal: AbortSignal | undefined): AsyncIterableIterator<EntityChange<Anchor>> {
    return this.watch('anchor', anchorOf, signal)
  }

  watchTransfers(signal: AbortSignal | undefined): AsyncIterableIterator<EntityChange<Transfer>> {
    return this.watch('transfer', transferOf, signal)
  }

  /** A change with its entities decoded; undefined, and logged, when this version cannot. */
  decodeChange<T>(change: StoredChange, decode: (entry: KeyValue) => T): EntityChange<T> | undefined {
    const previous = change.previous && this.decode(change.previous, decode)
    const current = change.current && this.decode(change.current, decode)
    if (current === undefined) return previous && { kind: 'deleted', entity: previous }
    if (previous === undefined) return { kind: 'created', entity: current }
    return { kind: 'updated', entity: current, previous }
  }

  private watch<T>(
    type: StoredChange['type'],
    decode: (entry: KeyValue) => T,
    signal: AbortSignal | undefined,
  ): AsyncIterableIterator<EntityChange<T>> {
    let unlisten: () => void = () => undefined
    const stream = new WatchStream<EntityChange<T>>((ended) => {
      unlisten()
      this.streams.delete(ended)
    }, signal)
    if (this.stopped || signal?.aborted) {
      stream.end()
      return stream
    }
    this.streams.add(stream)
    unlisten = this.listen((change) => {
      if (change.type !== type) return
      const decoded = this.decodeChange(change, decode)
      if (decoded !== undefined) stream.push(decoded)
    })
    return stream
  }

  private changed(change: StrongChange): void {
    if (this.stopped) return
    if (change.kind === 'reset') this.compareWithStore()
    else for (const event of change.events) this.happened(event)
  }

  private happened(event: KeyEvent): void {
    const key = event.kind === 'put' ? event.current.key : event.key
    if (key === DELETION_KEY) {
      if (event.kind === 'put') this.rememberDeletion(event.current)
      return
    }
    const known = this.known.get(key)
    // Told already, by a comparison with a store that was ahead of its events.
    if (event.kind === 'put' && known !== undefined && known.modRevision >= event.revision) return
    if (event.kind === 'delete' && (known === undefined || known.modRevision >= event.revision)) return
    this.replace(key, event.kind === 'put' ? event.current : undefined, event.revision)
  }

  private rememberDeletion({ value, modRevision }: KeyValue): void {
    try {
      const [origin, atMs] = decodeTuple(value)
      this.deletion = {
        origin: expectString(origin, MAX_SERVER_ID_LENGTH, 'deletion.origin'),
        atMs: expectUint(atMs, 'deletion.at_ms'),
        revision: modRevision,
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      this.options.logger.warn({ error }, 'who deleted an entity cannot be read by this version')
    }
  }

  /** After a reset: deletions first, since what was made anew may stand in their place. */
  private compareWithStore(): void {
    const now = this.read()
    for (const [key, before] of [...this.known]) {
      const current = now.get(key)
      if (current?.createRevision !== before.createRevision) this.replace(key, undefined, undefined)
    }
    const changed = [...now].filter(
      ([key, { modRevision }]) => this.known.get(key)?.modRevision !== modRevision,
    )
    changed.sort(([, left], [, right]) => left.modRevision - right.modRevision)
    for (const [key, current] of changed) this.replace(key, current, undefined)
  }

  private replace(key: string, current: KeyValue | undefined, revision: number | undefined): void {
    const previous = this.known.get(key)
    if (current === undefined) this.known.delete(key)
    else this.known.set(key, current)
    const type = key.startsWith(ANCHOR_PREFIX) ? 'anchor' : 'transfer'
    const deletion = current === undefined && this.deletion?.revision === revision ? this.deletion : undefined
    for (const listener of [...this.listeners]) listener({ type, previous, current, deletion })
  }

  private read(): Map<string, KeyValue> {
    const { store } = this.options
    return new Map(
      [...store.list(ANCHOR_PREFIX), ...store.list(TRANSFER_PREFIX)].map((entry) => [entry.key, entry]),
    )
  }

  private decode<T>(entry: KeyValue, decode: (entry: KeyValue) => T): T | undefined {
    try {
      return decode(entry)
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      this.options.logger.warn({ key: entry.key, error }, 'an entity cannot be read by this version')
      return undefined
    }
  }
}
