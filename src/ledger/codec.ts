import { encodeMessage } from '../wire/encode.js'
import {
  bigintToWire,
  expectArray,
  expectBigint,
  expectString,
  expectTuple,
  expectUint,
} from '../wire/expect.js'
import { decodeTuple } from '../wire/safe-cbor.js'
import type { WireTuple, WireValue } from '../wire/wire-value.js'
import type { LedgerEntry, LedgerGap, LedgerLine } from './entry.js'

/** Entries of one block: what is written, read and checked together. */
export const MAX_BLOCK_ENTRIES = 512
/** Longest text in an entry: an item key. */
const MAX_TEXT_LENGTH = 1024
/** First element of a block's array; another one is of a later version. */
const BLOCK = 1

const TYPES = ['deposit', 'withdraw', 'settlement', 'gap'] as const
const KINDS = ['backed', 'provisional'] as const
const OUTCOMES = ['durable', 'confirmed', 'compensated', 'kept', 'parked', 'refused'] as const
const REASONS = ['crash', 'overload', 'disk', 'damage', 'journal', 'removed'] as const

/** [1, [entry, …]]. @throws InvalidArgumentError when it exceeds a message */
export function encodeBlock(entries: readonly LedgerEntry[]): Uint8Array {
  return encodeMessage([BLOCK, entries.map(entryToWire)])
}

/** Entries that a later version wrote in another form are left out. @throws FrameError */
export function decodeBlock(bytes: Uint8Array): LedgerEntry[] {
  const fields = decodeTuple(bytes)
  if (fields[0] !== BLOCK) return []
  return expectArray(fields[1], MAX_BLOCK_ENTRIES, 'block.entries').flatMap((value) => {
    const entry = entryFromWire(expectTuple(value, 4, 'entry'))
    return entry ? [entry] : []
  })
}

/** At most about the bytes that an entry takes. */
export function entryBytes(entry: LedgerEntry): number {
  if (entry.type === 'gap') return 24
  const { amount, storage, world, item, by, operationId, withdrawalId } = entry
  const text = storage.length + item.length + lengthOf(world) + lengthOf(by)
  const ids = lengthOf(operationId) + lengthOf(withdrawalId)
  return 3 * (text + ids) + (amount > Number.MAX_SAFE_INTEGER ? 256 : 64)
}

function lengthOf(text: string | undefined): number {
  return text === undefined ? 0 : text.length
}

/** Types first, so that one can tell without reading on. */
function entryToWire(entry: LedgerEntry): WireValue {
  const head = [TYPES.indexOf(entry.type), Math.max(0, Math.floor(entry.timeMs))]
  if (entry.type === 'gap') return [...head, REASONS.indexOf(entry.reason), entry.missing ?? null]
  const { storage, world, item, amount, by, operationId, withdrawalId, kind, group, outcome, code } = entry
  return [
    ...head,
    OUTCOMES.indexOf(outcome),
    storage,
    world ?? null,
    item,
    bigintToWire(amount),
    by ?? null,
    operationId ?? null,
    withdrawalId ?? null,
    kind === undefined ? null : KINDS.indexOf(kind),
    group,
    code ?? null,
  ]
}

function entryFromWire(fields: WireTuple): LedgerEntry | undefined {
  const type = TYPES[expectUint(fields[0], 'entry.type')]
  const timeMs = expectUint(fields[1], 'entry.time_ms')
  if (type === undefined) return undefined
  return type === 'gap' ? gapFromWire(timeMs, fields) : lineFromWire(type, timeMs, fields)
}

function gapFromWire(timeMs: number, fields: WireTuple): LedgerGap | undefined {
  const reason = REASONS[expectUint(fields[2], 'entry.reason')]
  const missing = fields[3] === null ? undefined : expectUint(fields[3], 'entry.missing')
  return reason && { type: 'gap', timeMs, reason, missing }
}

function lineFromWire(type: LedgerLine['type'], timeMs: number, fields: WireTuple): LedgerLine | undefined {
  const outcome = OUTCOMES[expectUint(fields[2], 'entry.outcome')]
  if (outcome === undefined) return undefined
  const text = (position: number) => expectString(fields[position], MAX_TEXT_LENGTH, 'entry.text')
  const optional = (position: number) => (fields[position] === null ? undefined : text(position))
  return {
    type,
    timeMs,
    outcome,
    storage: text(3),
    world: optional(4),
    item: text(5),
    amount: expectBigint(fields[6], 'entry.amount'),
    by: optional(7),
    operationId: optional(8),
    withdrawalId: optional(9),
    kind: fields[10] === null ? undefined : KINDS[expectUint(fields[10], 'entry.kind')],
    group: expectUint(fields[11], 'entry.group'),
    code: optional(12),
  }
}
