import type { Environment } from '../environment/environment.js'
import type { Operation } from '../raft/state-machine/commands.js'
import type { StrongStore } from '../strong/strong-store.js'
import { ConflictError } from '../sync/errors.js'
import { encodeMessage } from '../wire/encode.js'
import type { Anchor } from './anchor.js'
import type { Plan } from './attempts.js'
import {
  anchorKey,
  DELETION_KEY,
  lastSegment,
  linksKey,
  ownerKey,
  positionKey,
  storageKey,
  transferAtKey,
  transferKey,
  transfersAtPrefix,
} from './keys.js'
import { type Transfer, transferOf } from './transfer.js'
import { NO_VALUE, put, remove } from './values.js'

/** Transfers that one step of a cascading deletion takes along: what fits a transaction, with room. */
export const CASCADE_BATCH = 20
/** How many of the transfers that stand in the way are named. */
const MAX_NAMED = 10

interface Parts {
  readonly store: StrongStore
  readonly environment: Pick<Environment, 'clock'>
  readonly serverId: string
}

export interface Deletion extends Plan {
  /** The anchor itself goes with it. */
  readonly last: boolean
}

/**
 * A deletion, or a step of one. Whoever makes or deletes a transfer puts the links key of both its anchors, so as
 * long as that key has the revision seen here, the transfers listed here are those there are: none can come into
 * being beside the deletion.
 * @throws ConflictError when there are transfers and `cascade` is not asked for
 */
export function prepareDeletion(parts: Parts, anchor: Anchor, cascade: boolean): Deletion {
  const { store } = parts
  const { id, world, position, storage } = anchor
  const transfers = store.list(transfersAtPrefix(id)).map(({ key }) => lastSegment(key))
  if (transfers.length > 0 && !cascade) {
    const named = transfers.slice(0, MAX_NAMED).join(', ')
    const more = transfers.length > MAX_NAMED ? ` and ${transfers.length - MAX_NAMED} more` : ''
    throw new ConflictError(`anchor ${id} is in use by ${transfers.length} transfers: ${named}${more}`)
  }
  const last = transfers.length <= CASCADE_BATCH
  const operations = [putDeletion(parts)]
  for (const transfer of transfers.slice(0, CASCADE_BATCH)) {
    operations.push(...removeTransfer(transferOf(store.get(transferKey(transfer))!)))
  }
  if (last) {
    operations.push(remove(anchorKey(id)), remove(positionKey(world, position)))
    operations.push(remove(storageKey(storage, id)), remove(linksKey(id)))
  }
  return {
    comparisons: [
      { key: anchorKey(id), target: 'mod-revision', operator: '=', operand: anchor.version },
      {
        key: linksKey(id),
        target: 'mod-revision',
        operator: '=',
        operand: store.get(linksKey(id))?.modRevision ?? 0,
      },
    ],
    operations: oncePerKey(operations),
    last,
  }
}

/** Everything that there is of a transfer; its two anchors live on and learn of it. */
export function removeTransfer({ id, from, to }: Transfer): Operation[] {
  return [
    remove(transferKey(id)),
    remove(transferAtKey(from, id)),
    remove(transferAtKey(to, id)),
    remove(ownerKey(id)),
    put(linksKey(from), NO_VALUE),
    put(linksKey(to), NO_VALUE),
  ]
}

/** A transaction names each key once: what comes last about a key is what holds, so the anchor's own end does. */
function oncePerKey(operations: readonly Operation[]): Operation[] {
  const byKey = new Map<string, Operation>()
  for (const operation of operations) if ('key' in operation) byKey.set(operation.key, operation)
  return [...byKey.values()]
}

/** A deleted key says nothing of who deleted it: this one, put at the same revision, does. */
export function putDeletion({ serverId, environment }: Parts): Operation {
  return put(DELETION_KEY, encodeMessage([serverId, Math.floor(environment.clock.wallMs())]))
}
