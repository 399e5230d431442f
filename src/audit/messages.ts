import {
  MAX_KEY_LENGTH,
  MAX_NAMESPACE_LENGTH,
  MAX_PARTITION_LENGTH,
  MAX_REPLICA_LENGTH,
} from '../crdt/limits.js'
import { FrameError } from '../sync/errors.js'
import { isReplicaId, type ReplicaId } from '../sync/identity.js'
import {
  expectArray,
  expectBoolean,
  expectBytesOf,
  expectInteger,
  expectString,
  expectTuple,
  expectUint,
} from '../wire/expect.js'
import { MessageType } from '../wire/message-type.js'
import { inParts } from '../wire/row-parts.js'
import type { WireTuple, WireValue } from '../wire/wire-value.js'
import type { ListedCell } from './cell-scan.js'
import { AUDIT_BUCKETS, type ReplicaSum } from './cell-sums.js'
import type { ItemSums } from './item-sums.js'
import { MAX_ITEMS_NAMED, type OwnVerdict, type Place } from './survey.js'

/** Replicas that one answer tells the sums of; further ones follow in further parts. */
export const MAX_SUM_ROWS = 1024
/** Buckets whose cells may be asked for at once. */
export const MAX_BUCKETS_ASKED = 2
/** Cells in one answer; cut earlier where their keys are long. */
export const MAX_CELL_ROWS = 1024
/** About the size of an answer that lists cells. */
export const CELL_LIST_BYTES = 48 * 1024
/** A quantity below 2^1024 as text, with a sign. */
const MAX_DIGITS = 320

/** What is asked of a server; `id` is the asker's, new for each audit. */
export type AuditAsk = { readonly id: number } & (
  | { readonly type: 'sums' }
  | { readonly type: 'verdict' }
  | ({ readonly type: 'buckets' } & Place)
  | ({ readonly type: 'cells'; readonly buckets: readonly number[]; readonly from: number } & Place)
  | { readonly type: 'end' }
)

/** 'working': not there yet, ask again. 'busy': it audits for too many others, ask again later. */
export type AuditAnswer = { readonly id: number } & (
  | { readonly type: 'working'; readonly done: number; readonly total: number }
  | { readonly type: 'busy' }
  | { readonly type: 'sums'; readonly sums: readonly PartitionSums[]; readonly more: boolean }
  | { readonly type: 'verdict'; readonly verdict: OwnVerdict }
  | ({ readonly type: 'buckets'; readonly known: number; readonly sums: Int32Array } & Place)
  | ({ readonly type: 'cells' } & Place & CellPage)
)

export interface PartitionSums {
  readonly partition: string
  readonly rows: readonly ReplicaSum[]
}

export interface CellPage {
  readonly known: number
  readonly isTruncated: boolean
  /** Position of the first cell in the whole list. */
  readonly from: number
  readonly cells: readonly ListedCell[]
  readonly more: boolean
}

const ASKS = ['sums', 'verdict', 'buckets', 'cells', 'end'] as const
const ANSWERS = ['working', 'busy', 'sums', 'verdict', 'buckets', 'cells'] as const

export function askToTuple(ask: AuditAsk): WireTuple {
  const head = [MessageType.audit, ask.id, ASKS.indexOf(ask.type)]
  switch (ask.type) {
    case 'buckets':
      return [...head, ask.partition, ask.replica]
    case 'cells':
      return [...head, ask.partition, ask.replica, [...ask.buckets], ask.from]
    default:
      return head
  }
}

/** Undefined for a question of a later version. @throws FrameError */
export function askFromTuple(tuple: WireTuple): AuditAsk | undefined {
  const fields = expectTuple(tuple, 3, 'audit')
  const id = expectUint(fields[1], 'audit.id')
  const type = ASKS[expectUint(fields[2], 'audit.question')]
  switch (type) {
    case 'buckets':
      return { id, type, ...placeOf(fields) }
    case 'cells': {
      const buckets = expectArray(fields[5], MAX_BUCKETS_ASKED, 'audit.buckets').map((bucket) =>
        expectUint(bucket, 'audit.bucket', AUDIT_BUCKETS - 1),
      )
      return { id, type, ...placeOf(fields), buckets, from: expectUint(fields[6], 'audit.from') }
    }
    default:
      return type && { id, type }
  }
}

export function answerToTuple(answer: AuditAnswer): WireTuple {
  const head: WireValue[] = [MessageType.auditAnswer, answer.id, ANSWERS.indexOf(answer.type)]
  switch (answer.type) {
    case 'working':
      return [...head, answer.done, answer.total]
    case 'busy':
      return head
    case 'sums': {
      const sums = answer.sums.map(({ partition, rows }) => [
        partition,
        rows.map(({ replica, known, sum }) => [replica, known, sum]),
      ])
      return [...head, sums, answer.more]
    }
    case 'verdict': {
      const { items, wrongCount, wrong, overdrawnCount, overdrawn, altered } = answer.verdict
      const places = altered.slice(0, MAX_ITEMS_NAMED).map(({ partition, replica }) => [partition, replica])
      return [
        ...head,
        items,
        wrongCount,
        wrong.map(itemToWire),
        overdrawnCount,
        overdrawn.map(itemToWire),
        places,
      ]
    }
    case 'buckets': {
      const { partition, replica, known, sums } = answer
      return [...head, partition, replica, known, bytesOfSums(sums)]
    }
    case 'cells': {
      const { partition, replica, known, isTruncated, from, cells, more } = answer
      const rows = cells.map(({ kind, namespace, key, number, hash }) => [kind, namespace, key, number, hash])
      return [...head, partition, replica, known, isTruncated, from, rows, more]
    }
  }
}

/** Undefined for an answer of a later version. @throws FrameError */
export function answerFromTuple(tuple: WireTuple): AuditAnswer | undefined {
  const fields = expectTuple(tuple, 3, 'audit_answer')
  const id = expectUint(fields[1], 'audit_answer.id')
  const type = ANSWERS[expectUint(fields[2], 'audit_answer.type')]
  switch (type) {
    case undefined:
      return undefined
    case 'working':
      return {
        id,
        type,
        done: expectUint(fields[3], 'audit_answer.done'),
        total: expectUint(fields[4], 'audit_answer.total'),
      }
    case 'busy':
      return { id, type }
    case 'sums':
      return { id, type, sums: sumsFromWire(fields[3]), more: expectBoolean(fields[4], 'audit_answer.more') }
    case 'verdict':
      return { id, type, verdict: verdictFromWire(fields) }
    case 'buckets': {
      const known = expectUint(fields[5], 'audit_answer.known')
      return {
        id,
        type,
        ...placeOf(fields),
        known,
        sums: sumsOfBytes(expectBytesOf(fields[6], 4 * AUDIT_BUCKETS, 'audit_answer.buckets')),
      }
    }
    case 'cells':
      return {
        id,
        type,
        ...placeOf(fields),
        known: expectUint(fields[5], 'audit_answer.known'),
        isTruncated: expectBoolean(fields[6], 'audit_answer.truncated'),
        from: expectUint(fields[7], 'audit_answer.from'),
        cells: expectArray(fields[8], MAX_CELL_ROWS, 'audit_answer.cells').map(cellFromWire),
        more: expectBoolean(fields[9], 'audit_answer.more'),
      }
  }
}

/** Cuts sums so that each part is one message. */
export function sumsInParts(sums: ReadonlyMap<string, readonly ReplicaSum[]>): PartitionSums[][] {
  return inParts(
    [...sums].map(([partition, rows]) => ({ partition, rows })),
    MAX_SUM_ROWS,
  )
}

function placeOf(fields: WireTuple): Place {
  return {
    partition: expectString(fields[3], MAX_PARTITION_LENGTH, 'audit.partition'),
    replica: expectReplica(fields[4]),
  }
}

function expectReplica(value: WireValue | undefined): ReplicaId {
  const replica = expectString(value, MAX_REPLICA_LENGTH, 'audit.replica')
  if (!isReplicaId(replica)) throw new FrameError('audit.replica: not a replica id')
  return replica
}

function sumsFromWire(value: WireValue | undefined): PartitionSums[] {
  return expectArray(value, MAX_SUM_ROWS, 'audit_answer.partitions').map((entry) => {
    const [partition, rows] = expectTuple(entry, 2, 'audit_answer.partition')
    return {
      partition: expectString(partition, MAX_PARTITION_LENGTH, 'audit_answer.partition'),
      rows: expectArray(rows, MAX_SUM_ROWS, 'audit_answer.rows').map((row) => {
        const [replica, known, sum] = expectTuple(row, 3, 'audit_answer.row')
        return {
          replica: expectReplica(replica),
          known: expectUint(known, 'audit_answer.known'),
          sum: expectInteger(sum, 'audit_answer.sum'),
        }
      }),
    }
  })
}

function verdictFromWire(fields: WireTuple): OwnVerdict {
  const list = (value: WireValue | undefined) => expectArray(value, MAX_ITEMS_NAMED, 'audit_answer.items')
  return {
    items: expectUint(fields[3], 'audit_answer.items'),
    wrongCount: expectUint(fields[4], 'audit_answer.wrong'),
    wrong: list(fields[5]).map(itemFromWire),
    overdrawnCount: expectUint(fields[6], 'audit_answer.overdrawn'),
    overdrawn: list(fields[7]).map(itemFromWire),
    altered: list(fields[8]).map((value) => {
      const [partition, replica] = expectTuple(value, 2, 'audit_answer.altered')
      return {
        partition: expectString(partition, MAX_PARTITION_LENGTH, 'audit_answer.partition'),
        replica: expectReplica(replica),
      }
    }),
  }
}

const AMOUNTS = [
  'deposited',
  'withdrawn',
  'compensated',
  'underWay',
  'provisional',
  'rights',
  'quantity',
] as const

/** Amounts as decimal text: unlike a quantity on the wire they may be negative. */
function itemToWire(item: ItemSums): WireValue {
  return [item.partition, item.storage, item.item, ...AMOUNTS.map((name) => item[name].toString())]
}

function itemFromWire(value: WireValue): ItemSums {
  const fields = expectTuple(value, 3 + AMOUNTS.length, 'audit_answer.item')
  const amount = (position: number) => {
    const text = expectString(fields[3 + position], MAX_DIGITS, `audit_answer.${AMOUNTS[position]}`)
    if (!/^-?\d+$/.test(text)) throw new FrameError(`audit_answer.${AMOUNTS[position]}: not a decimal number`)
    return BigInt(text)
  }
  return {
    partition: expectString(fields[0], MAX_PARTITION_LENGTH, 'audit_answer.partition'),
    storage: expectString(fields[1], MAX_NAMESPACE_LENGTH, 'audit_answer.storage'),
    item: expectString(fields[2], MAX_KEY_LENGTH, 'audit_answer.item'),
    deposited: amount(0),
    withdrawn: amount(1),
    compensated: amount(2),
    underWay: amount(3),
    provisional: amount(4),
    rights: amount(5),
    quantity: amount(6),
  }
}

function cellFromWire(value: WireValue): ListedCell {
  const [kind, namespace, key, number, hash] = expectTuple(value, 5, 'audit_answer.cell')
  return {
    kind: expectUint(kind, 'audit_answer.kind'),
    namespace: expectString(namespace, MAX_NAMESPACE_LENGTH, 'audit_answer.namespace'),
    key: expectString(key, MAX_KEY_LENGTH, 'audit_answer.key'),
    number: expectUint(number, 'audit_answer.number'),
    hash: expectInteger(hash, 'audit_answer.hash'),
  }
}

/** Little-endian, whatever the machine. */
function bytesOfSums(sums: Int32Array): Uint8Array {
  const bytes = new Uint8Array(4 * sums.length)
  const view = new DataView(bytes.buffer)
  for (const [position, sum] of sums.entries()) view.setInt32(4 * position, sum, true)
  return bytes
}

function sumsOfBytes(bytes: Uint8Array): Int32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Int32Array.from({ length: bytes.length / 4 }, (_, position) => view.getInt32(4 * position, true))
}
