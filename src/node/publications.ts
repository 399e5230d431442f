import { CellKind } from '../crdt/cell.js'
import { isExpired, type Partition } from '../crdt/partition.js'
import type { Environment } from '../environment/environment.js'
import { uuidV7 } from '../environment/uuid.js'
import { FrameError, InvalidArgumentError } from '../sync/errors.js'
import type { SyncEvent, SyncEventType } from '../sync/event.js'
import type { Logger } from '../sync/logger.js'
import { isWellFormed } from '../wire/encode.js'
import {
  eventFromValue,
  eventToValue,
  isEventType,
  MAX_ENTITY_LENGTH,
  MAX_EVENT_PAYLOAD_BYTES,
} from './event-log.js'
import { Receipt } from './receipt.js'
import type { StorageHost } from './storage-host.js'

export interface PublishOptions {
  readonly type: SyncEventType
  readonly entityType: string
  readonly entityId: string
  readonly payload?: Uint8Array
}

export interface PublicationsOptions {
  readonly environment: Environment
  readonly logger: Logger
  readonly serverId: string
  readonly shared: Partition
  readonly retentionMs: number
  readonly host: StorageHost
  readonly deliver: (event: SyncEvent) => void
}

/**
 * Published events: append-only cells that expire. Every server that is in the mesh within the retention time
 * gets each of them, once per run of its node; one that restarts may see an event again.
 */
export class Publications {
  constructor(private readonly options: PublicationsOptions) {}

  /** @throws InvalidArgumentError, NotRunningError, DiskFullError, JournalFailedError */
  publish(given: PublishOptions): { event: SyncEvent; receipt: Receipt } {
    checkPublication(given)
    const { environment, host, serverId, shared, retentionMs } = this.options
    host.requireWritable()
    const timestampMs = Math.floor(environment.clock.wallMs())
    const event: SyncEvent = {
      eventId: uuidV7(environment),
      type: given.type,
      entityType: given.entityType,
      entityId: given.entityId,
      origin: serverId,
      timestampMs,
      vectorClock: Object.fromEntries(shared.replicas().map(({ replica, known }) => [replica, known])),
      payload: Uint8Array.from(given.payload ?? []),
    }
    const entry = shared.table.entry(shared.table.namespace(CellKind.event, ''), event.eventId)
    shared.own.setObject(entry, eventToValue(event, timestampMs + retentionMs))
    const receipt = new Receipt(host, host.groupOf(shared), 0)
    this.options.deliver(event)
    return { event, receipt }
  }

  /** A cell of kind event has come from another server. */
  arrived(entry: number): void {
    const { environment, logger, shared } = this.options
    const eventId = shared.table.keyOf(entry)
    // A further cell of the same event comes from another incarnation of its server: it has been delivered.
    if ([...shared.table.cellsOf(entry)].length > 1) return
    for (const cell of shared.table.cellsOf(entry)) {
      const value = shared.table.objectValue(cell)
      if (isExpired(value, environment.clock.wallMs())) continue
      try {
        this.options.deliver(eventFromValue(eventId, value))
      } catch (error) {
        if (!(error instanceof FrameError)) throw error
        logger.warn({ eventId, error }, 'an event cannot be read by this version')
      }
    }
  }
}

function checkPublication({ type, entityType, entityId, payload }: PublishOptions): void {
  if (typeof type !== 'string' || !isEventType(type))
    throw new InvalidArgumentError(`no event type ${String(type)}`)
  for (const [name, text] of Object.entries({ entityType, entityId })) {
    if (
      typeof text !== 'string' ||
      text.length === 0 ||
      text.length > MAX_ENTITY_LENGTH ||
      !isWellFormed(text)
    ) {
      throw new InvalidArgumentError(`${name}: 1 to ${MAX_ENTITY_LENGTH} characters of well-formed text`)
    }
  }
  if (payload === undefined) return
  if (!(payload instanceof Uint8Array) || payload.length > MAX_EVENT_PAYLOAD_BYTES) {
    throw new InvalidArgumentError(`payload: a Uint8Array of at most ${MAX_EVENT_PAYLOAD_BYTES} bytes`)
  }
}
