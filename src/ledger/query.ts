import { checkStorageId } from '../sync/checks.js'
import { InvalidArgumentError } from '../sync/errors.js'
import { canonicalItemKey, type ItemKey } from '../sync/item-key.js'
import { checkActor, type LedgerFilter } from './entry.js'

/** Most entries that may be asked for as the newest: they are held in memory. */
export const MAX_LIMIT = 100_000

export interface LedgerOptions {
  readonly item?: string | ItemKey
  readonly storage?: string
  readonly by?: string
  /** Wall time in ms: nothing that was done before. */
  readonly sinceMs?: number
  /** The newest so many of those that are asked for. */
  readonly limit?: number
  /** Goes on with what comes. */
  readonly follow?: boolean
  readonly signal?: AbortSignal
}

/** The same, checked. */
export interface LedgerQuery extends LedgerFilter {
  readonly limit: number | undefined
  readonly follow: boolean
  readonly signal: AbortSignal | undefined
}

/** @throws InvalidArgumentError */
export function checkQuery(options: LedgerOptions): LedgerQuery {
  const { item, storage, by, sinceMs, limit, follow = false, signal } = options
  if (sinceMs !== undefined && !Number.isFinite(sinceMs))
    throw new InvalidArgumentError('ledger: sinceMs is a time in milliseconds')
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 1 && limit <= MAX_LIMIT))
    throw new InvalidArgumentError(`ledger: a limit of 1 to ${MAX_LIMIT}`)
  if (typeof follow !== 'boolean') throw new InvalidArgumentError('ledger: follow is true or false')
  return {
    item: item === undefined ? undefined : canonicalItemKey(item),
    storage: storage === undefined ? undefined : checkStorageId(storage),
    by: by === undefined ? undefined : checkActor(by),
    sinceMs,
    limit,
    follow,
    signal,
  }
}
