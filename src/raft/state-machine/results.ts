import type { Tuple, TupleReader } from '../tuple-reader.js'

/** Certain: nothing has happened because of the request, and a retry of it would be refused again or be new. */
const COMMAND_REFUSALS = [
  /** The bytes are no command of this version, or break a limit. */
  'malformed',
  /** Closed, pushed out by others, or never opened: what became of earlier commands of it is unknown. */
  'session-unknown',
  /** The client had said that it no longer waits for this sequence. */
  'sequence-stale',
  /** Too many commands under way in this session; the same request may succeed later. */
  'session-full',
  'lease-unknown',
  /** Too many leases, or too many keys on this one. */
  'leases-full',
  'store-full',
  'too-many-keys',
] as const
export type CommandRefusal = (typeof COMMAND_REFUSALS)[number]

export type Result =
  | { readonly status: 'refused'; readonly reason: CommandRefusal }
  | {
      readonly status: 'done'
      /** Whether the comparisons held. */
      readonly succeeded: boolean
      /** Position of the first comparison that did not, or -1. */
      readonly failedComparison: number
      /** Of the store after this command; of what was put, when something was. A fencing token. */
      readonly revision: number
      readonly deleted: number
    }
  | { readonly status: 'session'; readonly session: number }
  | { readonly status: 'lease'; readonly lease: number; readonly ttlMs: number }

const STATUSES = ['refused', 'done', 'session', 'lease'] as const

export function refused(reason: CommandRefusal): Result {
  return { status: 'refused', reason }
}

export function resultToTuple(result: Result): Tuple {
  switch (result.status) {
    case 'refused':
      return [0, COMMAND_REFUSALS.indexOf(result.reason)]
    case 'done':
      return [1, result.succeeded, result.failedComparison + 1, result.revision, result.deleted]
    case 'session':
      return [2, result.session]
    case 'lease':
      return [3, result.lease, result.ttlMs]
  }
}

/** @throws FrameError */
export function readResult(reader: TupleReader): Result {
  const result = readFields(reader, reader.choice(STATUSES))
  reader.end()
  return result
}

function readFields(reader: TupleReader, status: Result['status']): Result {
  switch (status) {
    case 'refused':
      return { status, reason: reader.choice(COMMAND_REFUSALS) }
    case 'done':
      return {
        status,
        succeeded: reader.boolean(),
        failedComparison: reader.integer() - 1,
        revision: reader.integer(),
        deleted: reader.integer(),
      }
    case 'session':
      return { status, session: reader.integer(1) }
    case 'lease':
      return { status, lease: reader.integer(1), ttlMs: reader.integer(1) }
  }
}
