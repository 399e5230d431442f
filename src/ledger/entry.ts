import { InvalidArgumentError } from '../sync/errors.js'

/** Longest text that says who did something. */
export const MAX_ACTOR_LENGTH = 128

/** One thing that was done on this server, or refused. A batch or a transfer's move is several lines. */
export interface LedgerLine {
  readonly type: 'deposit' | 'withdraw' | 'settlement'
  /** When it was done, wall time of this server. */
  readonly timeMs: number
  readonly storage: string
  /** Undefined: a storage shared by all servers. */
  readonly world: string | undefined
  readonly item: string
  readonly amount: bigint
  /** Who, as the caller named it (`by`); of a move `transfer:` and the transfer's id. */
  readonly by: string | undefined
  readonly operationId: string | undefined
  /** Of withdrawals beyond rights and of what became of them. */
  readonly withdrawalId: string | undefined
  /** Of withdrawals that were made. */
  readonly kind: 'backed' | 'provisional' | undefined
  /** Lines of one batch or move have the same number, new for each of them within one run; 0 otherwise. */
  readonly group: number
  /**
   * 'durable': made, and this server's journal had it when the line was written. 'confirmed', 'compensated', 'kept',
   * 'parked': how a provisional withdrawal went on. 'refused': nothing has happened, see `code`.
   */
  readonly outcome: 'durable' | 'confirmed' | 'compensated' | 'kept' | 'parked' | 'refused'
  /** Code of the error with which it was refused. */
  readonly code: string | undefined
}

/** Something is missing here. */
export interface LedgerGap {
  readonly type: 'gap'
  readonly timeMs: number
  /**
   * 'crash': the process ended without a proper stop; the lines of its last moments may be missing. 'overload': they
   * came faster than they could be written. 'disk': the disk took none. 'damage': a part of the file is unreadable.
   * 'journal': it is not known whether these became durable. 'removed': older than what is kept.
   */
  readonly reason: 'crash' | 'overload' | 'disk' | 'damage' | 'journal' | 'removed'
  /** How many lines; undefined when nobody knows. */
  readonly missing: number | undefined
}

export type LedgerEntry = LedgerLine | LedgerGap

/** What to show. Gaps are shown whatever is asked for: nobody knows what is in them. */
export interface LedgerFilter {
  readonly item?: string | undefined
  readonly storage?: string | undefined
  readonly by?: string | undefined
  /** Wall time. */
  readonly sinceMs?: number | undefined
}

export function passes(entry: LedgerEntry, { item, storage, by, sinceMs }: LedgerFilter): boolean {
  if (sinceMs !== undefined && entry.timeMs < sinceMs) return false
  if (entry.type === 'gap') return true
  if (item !== undefined && entry.item !== item) return false
  if (storage !== undefined && entry.storage !== storage) return false
  return by === undefined || entry.by === by
}

/** @throws InvalidArgumentError unless 1 to 128 characters of well-formed text without control characters. */
export function checkActor(by: unknown): string {
  const isText = typeof by === 'string' && by.length > 0 && by.length <= MAX_ACTOR_LENGTH
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
  if (isText && !/[\u0000-\u001f\u007f]|\p{Surrogate}/u.test(by)) return by
  throw new InvalidArgumentError(
    `by: 1 to ${MAX_ACTOR_LENGTH} characters of well-formed text, like "player:steve"`,
  )
}
