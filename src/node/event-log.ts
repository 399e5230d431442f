import type { ObjectValue } from '../crdt/cell.js'
import { FrameError } from '../sync/errors.js'
import { SYNC_EVENT_TYPES, type SyncEvent, type SyncEventType } from '../sync/event.js'
import { expectArray, expectBytes, expectString, expectTuple, expectUint } from '../wire/expect.js'
import type { WireValue } from '../wire/wire-value.js'

/** Longest entity type or id of an event. */
export const MAX_ENTITY_LENGTH = 256
/** Largest payload of a published event. */
export const MAX_EVENT_PAYLOAD_BYTES = 32 * 1024
const MAX_CLOCK_ENTRIES = 4096

/** A published event as the value of an append-only cell that expires. */
export function eventToValue(event: SyncEvent, expiresAtMs: number): ObjectValue {
  const clock = Object.entries(event.vectorClock).map(([replica, number]) => [replica, number])
  const { type, entityType, entityId, origin, timestampMs, payload } = event
  return [expiresAtMs, type, entityType, entityId, origin, timestampMs, payload, clock]
}

/** @throws FrameError */
export function eventFromValue(eventId: string, value: readonly WireValue[]): SyncEvent {
  const type = expectString(value[1], MAX_ENTITY_LENGTH, 'event.type')
  if (!isEventType(type)) throw new FrameError(`event.type: ${type} is not known to this version`)
  const vectorClock: Record<string, number> = Object.create(null) as Record<string, number>
  for (const entry of expectArray(value[7], MAX_CLOCK_ENTRIES, 'event.clock')) {
    const [replica, number] = expectTuple(entry, 2, 'event.clock')
    vectorClock[expectString(replica, MAX_ENTITY_LENGTH, 'event.clock.replica')] = expectUint(
      number,
      'event.clock',
    )
  }
  return {
    eventId,
    type,
    entityType: expectString(value[2], MAX_ENTITY_LENGTH, 'event.entity_type'),
    entityId: expectString(value[3], MAX_ENTITY_LENGTH, 'event.entity_id'),
    origin: expectString(value[4], MAX_ENTITY_LENGTH, 'event.origin'),
    timestampMs: expectUint(value[5], 'event.timestamp_ms'),
    payload: expectBytes(value[6], MAX_EVENT_PAYLOAD_BYTES, 'event.payload'),
    vectorClock,
  }
}

export function isEventType(type: string): type is SyncEventType {
  return (SYNC_EVENT_TYPES as readonly string[]).includes(type)
}
