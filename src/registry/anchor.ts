import { checkStorageId, checkWorldId, MAX_STORAGE_ID_LENGTH, MAX_WORLD_ID_LENGTH } from '../sync/checks.js'
import { InvalidArgumentError } from '../sync/errors.js'
import { expectInteger, expectString, expectTuple } from '../wire/expect.js'
import type { WireValue } from '../wire/wire-value.js'
import { checkFields, decodeEntity, decodePayload, type Entity, type StoredEntity } from './entity.js'
import { lastSegment, type Position } from './keys.js'
import { checkMetadata, type Metadata, metadataFromWire, metadataToWire } from './metadata.js'

export interface AnchorContent {
  /** Id of the storage that it opens: one that all servers share, whatever world the anchor is in. */
  readonly storage: string
  /** Where its block stands. */
  readonly world: string
  readonly position: Position
  readonly metadata: Metadata
}

/** A block in a world that opens a storage. There is at most one at each position. */
export interface Anchor extends Entity, AnchorContent {}

/** Coordinates lie within ± this; far beyond the edge of any known world. */
export const MAX_COORDINATE = 2 ** 31 - 1

/** @throws InvalidArgumentError */
export function checkPosition(given: unknown): Position {
  checkFields(given, 'position', ['x', 'y', 'z'])
  const { x, y, z } = given as Position
  for (const coordinate of [x, y, z]) {
    if (!Number.isInteger(coordinate) || Math.abs(coordinate) > MAX_COORDINATE) {
      throw new InvalidArgumentError(`position: whole numbers x, y, z within ±${MAX_COORDINATE} expected`)
    }
  }
  // -0 and 0 are one place.
  return Object.freeze({ x: x + 0, y: y + 0, z: z + 0 })
}

/** @throws InvalidArgumentError */
export function checkAnchorContent(given: {
  readonly storage: unknown
  readonly world: unknown
  readonly position: unknown
  readonly metadata?: unknown
}): AnchorContent {
  return {
    storage: checkStorageId(given.storage),
    world: checkWorldId(given.world),
    position: checkPosition(given.position),
    metadata: checkMetadata(given.metadata),
  }
}

export function anchorContentToWire({ storage, world, position, metadata }: AnchorContent): WireValue {
  return [storage, world, position.x, position.y, position.z, metadataToWire(metadata)]
}

function anchorFrom({ entity, content }: { entity: Entity; content: WireValue | undefined }): Anchor {
  const [storage, world, x, y, z, metadata] = expectTuple(content, 6, 'anchor')
  return Object.freeze({
    ...entity,
    storage: expectString(storage, MAX_STORAGE_ID_LENGTH, 'anchor.storage'),
    world: expectString(world, MAX_WORLD_ID_LENGTH, 'anchor.world'),
    position: Object.freeze({
      x: expectInteger(x, 'anchor.x'),
      y: expectInteger(y, 'anchor.y'),
      z: expectInteger(z, 'anchor.z'),
    }),
    metadata: metadataFromWire(metadata),
  })
}

/** From its key in the store. @throws FrameError */
export function anchorOf({ key, modRevision, value }: StoredEntity): Anchor {
  return anchorFrom(decodeEntity(lastSegment(key), modRevision, value))
}

/** The anchor that an ANCHOR_* event tells of, from its payload. @throws FrameError */
export function decodeAnchor(payload: Uint8Array): Anchor {
  return anchorFrom(decodePayload(payload))
}
