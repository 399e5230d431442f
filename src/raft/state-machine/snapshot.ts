import type { Tuple, TupleValue } from '../tuple-reader.js'
import { type KeyValue, keyValueBytes } from './key-value-store.js'
import type { Lease } from './leases.js'
import { STATE_MACHINE_VERSION } from './limits.js'
import { resultToTuple } from './results.js'
import type { Session } from './sessions.js'
import type { StateMachineParts } from './state-machine.js'

/** A chunk is closed when it has about so many bytes; one key or one session may exceed it. */
export const SNAPSHOT_CHUNK_BYTES = 64 * 1024

/** A chunk is [kind, …]; the kind is the position in this list. */
export const CHUNK_KINDS = ['header', 'keys', 'leases', 'sessions', 'end'] as const

/** Rough size of a lease or of a result in a chunk. */
const SMALL_ITEM_BYTES = 24

interface Position {
  readonly appliedIndex: number
  readonly revision: number
}

/** Captures what there is at once; what the chunks are made of does not change afterwards. */
export function snapshotChunks(parts: StateMachineParts, position: Position): Iterable<Tuple> {
  const keys = parts.store.all()
  const leases = parts.leases.all()
  const sessions = parts.sessions.all()
  return { [Symbol.iterator]: () => generate(keys, leases, sessions, position) }
}

function* generate(
  keys: readonly KeyValue[],
  leases: readonly Lease[],
  sessions: readonly Session[],
  { appliedIndex, revision }: Position,
): Generator<Tuple> {
  yield [0, STATE_MACHINE_VERSION, appliedIndex, revision]
  yield* chunked(1, keys, keyToTuple, keyValueBytes)
  yield* chunked(
    2,
    leases,
    ({ id, ttlMs, renewals }) => [id, ttlMs, renewals],
    () => SMALL_ITEM_BYTES,
  )
  yield* chunked(3, sessions, sessionToTuple, ({ results }) => (results.size + 1) * SMALL_ITEM_BYTES)
  yield [4, keys.length, leases.length, sessions.length]
}

function* chunked<T>(
  kind: number,
  items: readonly T[],
  toTuple: (item: T) => Tuple,
  bytesOf: (item: T) => number,
): Generator<Tuple> {
  let tuples: TupleValue[] = []
  let bytes = 0
  for (const item of items) {
    tuples.push(toTuple(item))
    bytes += bytesOf(item)
    if (bytes < SNAPSHOT_CHUNK_BYTES) continue
    yield [kind, tuples]
    tuples = []
    bytes = 0
  }
  if (tuples.length > 0) yield [kind, tuples]
}

function keyToTuple({ key, value, createRevision, modRevision, version, lease }: KeyValue): Tuple {
  return [key, value, createRevision, modRevision, version, lease]
}

function sessionToTuple({ id, name, floor, results }: Session): Tuple {
  return [id, name, floor, Array.from(results, ([sequence, result]) => [sequence, resultToTuple(result)])]
}
