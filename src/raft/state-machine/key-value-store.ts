import { KEY_OVERHEAD_BYTES } from './limits.js'
import { SortedKeys } from './sorted-keys.js'

/** One key as it stands. Immutable: a snapshot may hold on to it while the store goes on. */
export interface KeyValue {
  readonly key: string
  readonly value: Uint8Array
  /** Revision at which the key came to be; it changes when the key is deleted and put again. */
  readonly createRevision: number
  /** Revision of the last put. */
  readonly modRevision: number
  /** Number of puts since `createRevision`. */
  readonly version: number
  /** 0 when none. */
  readonly lease: number
}

/** `previous` is what was there before. A deletion's revision is that of the transaction. */
export type KeyEvent =
  | {
      readonly kind: 'put'
      readonly revision: number
      readonly current: KeyValue
      readonly previous: KeyValue | undefined
    }
  | { readonly kind: 'delete'; readonly revision: number; readonly key: string; readonly previous: KeyValue }

export interface ListOptions {
  /** Only keys that begin with it. */
  readonly prefix: string
  readonly limit: number
  /** Only keys after this one: the last of the page before. */
  readonly after?: string
}

export function keyValueBytes({ key, value }: { readonly key: string; readonly value: Uint8Array }): number {
  return key.length + value.length + KEY_OVERHEAD_BYTES
}

/** Keys, their values and where they stand in the order of revisions. Knows nothing of transactions. */
export class KeyValueStore {
  readonly #values = new Map<string, KeyValue>()
  readonly #keys = new SortedKeys()
  #bytes = 0
  /** Counts transactions that changed something. */
  revision = 0

  get size(): number {
    return this.#values.size
  }

  get bytes(): number {
    return this.#bytes
  }

  get(key: string): KeyValue | undefined {
    return this.#values.get(key)
  }

  list({ prefix, limit, after }: ListOptions): KeyValue[] {
    const found: KeyValue[] = []
    const start = after !== undefined && after > prefix ? after : prefix
    for (const key of this.#keys.from(start)) {
      if (!key.startsWith(prefix) || found.length >= limit) break
      if (key !== after) found.push(this.#values.get(key)!)
    }
    return found
  }

  /** Keys that an operation would remove, at most `limit` of them. */
  keysWithPrefix(prefix: string, limit: number): string[] {
    return this.#collect(prefix, limit, (key) => key.startsWith(prefix))
  }

  keysBetween(from: string, to: string, limit: number): string[] {
    return this.#collect(from, limit, (key) => key < to)
  }

  #collect(from: string, limit: number, belongs: (key: string) => boolean): string[] {
    const found: string[] = []
    for (const key of this.#keys.from(from)) {
      if (found.length >= limit || !belongs(key)) break
      found.push(key)
    }
    return found
  }

  /** All of them, in order; a copy of references. */
  all(): KeyValue[] {
    return Array.from(this.#keys.from(''), (key) => this.#values.get(key)!)
  }

  put(key: string, value: Uint8Array, lease: number, revision: number): KeyEvent {
    const previous = this.#values.get(key)
    const createRevision = previous?.createRevision ?? revision
    const version = (previous?.version ?? 0) + 1
    const current: KeyValue = { key, value, createRevision, modRevision: revision, version, lease }
    this.set(current)
    return { kind: 'put', revision, current, previous }
  }

  /** As it is; for restoring. */
  set(current: KeyValue): void {
    const previous = this.#values.get(current.key)
    if (previous === undefined) this.#keys.add(current.key)
    else this.#bytes -= keyValueBytes(previous)
    this.#bytes += keyValueBytes(current)
    this.#values.set(current.key, current)
  }

  delete(key: string, revision: number): KeyEvent | undefined {
    const previous = this.#values.get(key)
    if (previous === undefined) return undefined
    this.#values.delete(key)
    this.#keys.delete(key)
    this.#bytes -= keyValueBytes(previous)
    return { kind: 'delete', revision, key, previous }
  }
}
