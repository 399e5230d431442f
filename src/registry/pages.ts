import type { KeyValue } from '../raft/state-machine/key-value-store.js'
import type { StrongStore } from '../strong/strong-store.js'
import { InvalidArgumentError } from '../sync/errors.js'

export const DEFAULT_PAGE_SIZE = 1_000
export const MAX_PAGE_SIZE = 10_000

export interface PageOptions {
  /** Entries of one page, 1 to `MAX_PAGE_SIZE`; default `DEFAULT_PAGE_SIZE`. */
  readonly limit?: number
  /** `next` of the page before. */
  readonly after?: string
}

export interface Page<T> {
  readonly entries: readonly T[]
  /** Revision of the store that the page shows. */
  readonly revision: number
  /** For `after`, when there is more. */
  readonly next: string | undefined
}

/** @throws InvalidArgumentError */
export function checkPageOptions({ limit, after }: PageOptions): void {
  if (limit !== undefined && (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE_SIZE)) {
    throw new InvalidArgumentError(`limit: a whole number of 1 to ${MAX_PAGE_SIZE} expected`)
  }
  if (after !== undefined && typeof after !== 'string')
    throw new InvalidArgumentError('after: a text expected')
}

/**
 * A page of keys with the prefix, as what `read` makes of each; those that it makes undefined are left out and
 * count for nothing. It costs what it shows, however many keys there are. Entries that change between two pages are seen or not; no other one is missed or repeated.
 */
export function readPage<T>(
  store: StrongStore,
  prefix: string,
  { limit = DEFAULT_PAGE_SIZE, after }: PageOptions,
  read: (entry: KeyValue) => T | undefined,
): Page<T> {
  const entries: T[] = []
  const { revision } = store
  let last = after
  for (;;) {
    // One more than is wanted: whether anything follows.
    const asked = limit - entries.length + 1
    const part = store.list(prefix, { limit: asked, ...(last !== undefined && { after: prefix + last }) })
    for (const entry of part) {
      if (entries.length >= limit) return { entries, revision, next: last }
      const found = read(entry)
      last = entry.key.slice(prefix.length)
      if (found !== undefined) entries.push(found)
    }
    if (part.length < asked) return { entries, revision, next: undefined }
  }
}
