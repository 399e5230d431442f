import { v5, v7 } from 'uuid'
import type { KeyValue } from '../raft/state-machine/key-value-store.js'
import { FrameError } from '../sync/errors.js'
import type { SyncEvent, SyncEventType } from '../sync/event.js'
import { decodeEntity, encodePayload } from './entity.js'
import type { StoredChange } from './feed.js'
import { lastSegment } from './keys.js'

/** Of the names from which the ids of events are made; never to be changed. */
const EVENT_NAMESPACE = '0d0f3c6e-5f0e-4c3a-9a52-2b7c1f6f7a11'

/**
 * The events that a change of anchors or transfers is, the same on every server: ids are made of the entity's id
 * and a revision, so that whoever gets an event from several servers, or twice from one, can tell.
 *
 *  - A transfer is created and deleted once in its life (a deleted one that comes again with its old id has
 *    another), and updated at revisions. Ids: life and CREATED, revision and UPDATED, life and DELETED.
 *  - There is no event for an anchor's update: its old version is deleted and its new one created, each version
 *    once. A listener that takes blocks out of the world and puts them in is right with that alone, also when the
 *    block has moved. One that wants to know better sees the same entity id in both, or uses `anchors.watch`.
 *
 * A server that was cut off and caught up by a snapshot tells what it can see of what it missed: the versions that
 * came and went meanwhile never appear there, all events that do have the ids that they have elsewhere, and in
 * the end the same entities exist. A created transfer that was also updated gives both events, so that no reader
 * who drops the first one as known stays with old content.
 *
 * The payload is the entity (`decodeAnchor`, `decodeTransfer`), in deletions as last known; the vector clock is
 * empty, since the entity's `version` orders these events. `timestampMs` and `origin` are those of the writer; of
 * a deletion that was missed itself they are those of the last version known. Entities that this version cannot
 * read give no events.
 */
export function syncEventsOf({ type, previous, current, deletion }: StoredChange): SyncEvent[] {
  try {
    return type === 'anchor'
      ? anchorEvents(previous, current, deletion)
      : transferEvents(previous, current, deletion)
  } catch (error) {
    if (error instanceof FrameError) return []
    throw error
  }
}

type Deletion = StoredChange['deletion']

function anchorEvents(
  previous: KeyValue | undefined,
  current: KeyValue | undefined,
  deletion: Deletion,
): SyncEvent[] {
  const events: SyncEvent[] = []
  if (previous)
    events.push(event('ANCHOR_DELETED', previous, previous.modRevision, deletion ?? writer(current)))
  if (current) events.push(event('ANCHOR_CREATED', current, current.modRevision))
  return events
}

function transferEvents(
  previous: KeyValue | undefined,
  current: KeyValue | undefined,
  deletion: Deletion,
): SyncEvent[] {
  if (current === undefined) {
    return previous ? [event('TRANSFER_DELETED', previous, previous.createRevision, deletion)] : []
  }
  const events: SyncEvent[] = []
  if (previous === undefined) events.push(event('TRANSFER_CREATED', current, current.createRevision))
  if (current.modRevision !== current.createRevision) {
    events.push(event('TRANSFER_UPDATED', current, current.modRevision))
  }
  return events
}

/** Who replaced a version. */
function writer(entry: KeyValue | undefined): Deletion {
  if (entry === undefined) return undefined
  const { entity } = decodeEntity(lastSegment(entry.key), entry.modRevision, entry.value)
  return { origin: entity.updatedBy, atMs: entity.updatedAtMs }
}

function event(type: SyncEventType, entry: KeyValue, revision: number, by?: Deletion): SyncEvent {
  const entityId = lastSegment(entry.key)
  const { entity } = decodeEntity(entityId, entry.modRevision, entry.value)
  return Object.freeze({
    eventId: eventId(type, entityId, revision, entity.createdAtMs),
    type,
    entityType: type.startsWith('ANCHOR') ? 'anchor' : 'transfer',
    entityId,
    origin: by?.origin ?? entity.updatedBy,
    timestampMs: by?.atMs ?? entity.updatedAtMs,
    vectorClock: Object.freeze({}),
    payload: encodePayload(entityId, entry.modRevision, entry.value),
  })
}

/**
 * A UUIDv7 whose random part is a hash. Its time is that of the entity's creation: the one time that every server
 * knows, whichever of the entity's versions it has missed.
 */
function eventId(type: SyncEventType, entityId: string, revision: number, createdAtMs: number): string {
  const random = v5(`${type}/${entityId}/${revision}`, EVENT_NAMESPACE, new Uint8Array(16))
  return v7({ msecs: createdAtMs, random })
}
