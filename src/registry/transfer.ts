import { InvalidArgumentError } from '../sync/errors.js'
import { MAX_ITEM_KEY_LENGTH } from '../sync/item-key.js'
import { expectArray, expectBoolean, expectString, expectTuple, expectUint } from '../wire/expect.js'
import type { WireValue } from '../wire/wire-value.js'
import { checkEntityId, decodeEntity, decodePayload, type Entity, type StoredEntity } from './entity.js'
import { checkItemPatterns, type ItemPattern, MAX_ITEM_PATTERNS } from './item-patterns.js'
import { lastSegment } from './keys.js'
import { checkMetadata, type Metadata, metadataFromWire, metadataToWire } from './metadata.js'

export interface TransferContent {
  /** Id of the anchor whose storage items are taken from. */
  readonly from: string
  /** Id of the anchor whose storage they are put into. */
  readonly to: string
  readonly items: readonly ItemPattern[]
  /** Items per second, at most. */
  readonly rate: number
  readonly enabled: boolean
  readonly metadata: Metadata
}

/**
 * A link that moves items from one storage to another; its owner runs it (`TransferOwnership`). Both anchors exist as
 * long as it does. If both open the same storage it moves nothing.
 */
export interface Transfer extends Entity, TransferContent {}

export const DEFAULT_TRANSFER_RATE = 64
export const MAX_TRANSFER_RATE = 1_000_000_000
const MAX_ID_LENGTH = 36

/** @throws InvalidArgumentError */
export function checkTransferContent(given: {
  readonly from: unknown
  readonly to: unknown
  readonly items: unknown
  readonly rate?: unknown
  readonly enabled?: unknown
  readonly metadata?: unknown
}): TransferContent {
  const { items, rate = DEFAULT_TRANSFER_RATE, enabled = true, metadata } = given
  const from = checkEntityId(given.from, 'from')
  const to = checkEntityId(given.to, 'to')
  if (from === to) throw new InvalidArgumentError('a transfer from an anchor to itself would move nothing')
  if (!Number.isInteger(rate) || (rate as number) < 1 || (rate as number) > MAX_TRANSFER_RATE) {
    throw new InvalidArgumentError(`rate: a whole number of items per second, 1 to ${MAX_TRANSFER_RATE}`)
  }
  if (typeof enabled !== 'boolean') throw new InvalidArgumentError('enabled: true or false expected')
  return {
    from,
    to,
    items: checkItemPatterns(items),
    rate: rate as number,
    enabled,
    metadata: checkMetadata(metadata),
  }
}

export function transferContentToWire(content: TransferContent): WireValue {
  const { from, to, items, rate, enabled, metadata } = content
  return [from, to, items, rate, enabled, metadataToWire(metadata)]
}

function transferFrom({ entity, content }: { entity: Entity; content: WireValue | undefined }): Transfer {
  const [from, to, items, rate, enabled, metadata] = expectTuple(content, 6, 'transfer')
  const patterns = expectArray(items, MAX_ITEM_PATTERNS, 'transfer.items')
  return Object.freeze({
    ...entity,
    from: expectString(from, MAX_ID_LENGTH, 'transfer.from'),
    to: expectString(to, MAX_ID_LENGTH, 'transfer.to'),
    items: Object.freeze(
      patterns.map((pattern) => expectString(pattern, MAX_ITEM_KEY_LENGTH, 'transfer.items')),
    ),
    rate: expectUint(rate, 'transfer.rate', MAX_TRANSFER_RATE),
    enabled: expectBoolean(enabled, 'transfer.enabled'),
    metadata: metadataFromWire(metadata),
  })
}

/** From its key in the store. @throws FrameError */
export function transferOf({ key, modRevision, value }: StoredEntity): Transfer {
  return transferFrom(decodeEntity(lastSegment(key), modRevision, value))
}

/** The transfer that a TRANSFER_* event tells of, from its payload. @throws FrameError */
export function decodeTransfer(payload: Uint8Array): Transfer {
  return transferFrom(decodePayload(payload))
}
