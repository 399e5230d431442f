import type { KeyValue } from '../raft/state-machine/key-value-store.js'
import { ConflictError, FrameError, InvalidArgumentError, NotFoundError } from '../sync/errors.js'
import { MAX_SERVER_ID_LENGTH } from '../sync/identity.js'
import { encodeMessage } from '../wire/encode.js'
import { expectString, expectTuple, expectUint } from '../wire/expect.js'
import { decodeTuple } from '../wire/safe-cbor.js'
import type { WireTuple, WireValue } from '../wire/wire-value.js'

/** What an entity is read from: its key in the store. */
export type StoredEntity = Pick<KeyValue, 'key' | 'modRevision' | 'value'>

/** What anchors and transfers have in common. */
export interface Entity {
  /** A UUID; version 7 unless the creator chose another. */
  readonly id: string
  /** Server id of the creator. */
  readonly createdBy: string
  /** Wall time at the creator. */
  readonly createdAtMs: number
  /** Server id of the server that wrote this version, and its wall time. */
  readonly updatedBy: string
  readonly updatedAtMs: number
  /**
   * Revision of the store at the last change: it only grows, also when an entity is deleted and made again.
   * For `expectedVersion`.
   */
  readonly version: number
}

/** Of the encoded values; a reader refuses what it does not know. */
const FORMAT_VERSION = 1
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** @throws InvalidArgumentError unless a UUID in lower case */
export function checkEntityId(value: unknown, what: string): string {
  if (typeof value === 'string' && UUID.test(value)) return value
  throw new InvalidArgumentError(`${what}: a UUID in lower case expected`)
}

/** @throws InvalidArgumentError unless an object with no other fields than these */
export function checkFields(given: unknown, what: string, known: readonly string[]): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new InvalidArgumentError(`${what}: an object expected`)
  }
  for (const name of Object.keys(given)) {
    if (!known.includes(name))
      throw new InvalidArgumentError(`${what}: unknown field ${JSON.stringify(name)}`)
  }
}

/** @throws InvalidArgumentError */
export function checkExpectedVersion(value: unknown): void {
  if (value === undefined || (Number.isSafeInteger(value) && (value as number) > 0)) return
  throw new InvalidArgumentError('expectedVersion: the version of an entity expected')
}

/** @throws NotFoundError; ConflictError when it has another version by now */
export function requireVersion<E extends Entity>(
  entity: E | undefined,
  what: string,
  expectedVersion: number | undefined,
): E {
  if (entity === undefined) throw new NotFoundError(`no ${what}`)
  if (expectedVersion !== undefined && entity.version !== expectedVersion)
    throw new ConflictError(`${what} has version ${entity.version}, not ${expectedVersion}`)
  return entity
}

/** Who did it when, in front of the content. */
export type Authorship = Pick<Entity, 'createdBy' | 'createdAtMs' | 'updatedBy' | 'updatedAtMs'>

/** `id` and `version` are the key and its revision in the store, so they are not part of the value. */
export function encodeEntity(authorship: Authorship, content: WireValue): Uint8Array {
  const { createdBy, createdAtMs, updatedBy, updatedAtMs } = authorship
  return encodeMessage([FORMAT_VERSION, createdBy, createdAtMs, updatedBy, updatedAtMs, content])
}

/** @throws FrameError */
export function decodeEntity(
  id: string,
  version: number,
  value: Uint8Array,
): { entity: Entity; content: WireValue | undefined } {
  return entityFromTuple(id, version, decodeTuple(value))
}

function entityFromTuple(
  id: string,
  version: number,
  tuple: WireTuple,
): { entity: Entity; content: WireValue | undefined } {
  const [format, createdBy, createdAtMs, updatedBy, updatedAtMs, content] = tuple
  if (format !== FORMAT_VERSION)
    throw new FrameError(`an entity of format ${String(format)} is not known here`)
  const entity = {
    id,
    createdBy: expectString(createdBy, MAX_SERVER_ID_LENGTH, 'created_by'),
    createdAtMs: expectUint(createdAtMs, 'created_at_ms'),
    updatedBy: expectString(updatedBy, MAX_SERVER_ID_LENGTH, 'updated_by'),
    updatedAtMs: expectUint(updatedAtMs, 'updated_at_ms'),
    version,
  }
  return { entity, content }
}

/** An entity with its id and version, as events carry it. */
export function encodePayload(id: string, version: number, value: Uint8Array): Uint8Array {
  return encodeMessage([id, version, decodeTuple(value)])
}

/** Reverse of `encodePayload`. @throws FrameError */
export function decodePayload(payload: Uint8Array): { entity: Entity; content: WireValue | undefined } {
  const [id, version, tuple] = decodeTuple(payload)
  if (typeof id !== 'string' || !UUID.test(id)) throw new FrameError('payload.id: a UUID expected')
  return entityFromTuple(id, expectUint(version, 'payload.version'), expectTuple(tuple, 6, 'payload.entity'))
}
