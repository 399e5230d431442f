import type { Environment } from '../environment/environment.js'
import { uuidV7 } from '../environment/uuid.js'
import type { StatusChange } from '../gossip/membership.js'
import type { SyncEvent } from '../sync/event.js'
import type { NodeEmitter } from './node-events.js'

/** Tells the application of a server that has come or gone, as SERVER_JOIN and SERVER_LEAVE. */
export function announceStatus(
  emitter: NodeEmitter,
  environment: Environment,
  origin: string,
  { server, before, after }: StatusChange,
): void {
  const wasHere = before === 'alive' || before === 'suspect'
  const isHere = after === 'alive' || after === 'suspect'
  if (wasHere === isHere) return
  if (isHere) emitter.emit('serverJoin', { serverId: server })
  else emitter.emit('serverLeave', { serverId: server, reason: after === 'left' ? 'left' : 'dead' })
  const event: SyncEvent = {
    eventId: uuidV7(environment),
    type: isHere ? 'SERVER_JOIN' : 'SERVER_LEAVE',
    entityType: 'server',
    entityId: server,
    origin,
    timestampMs: Math.floor(environment.clock.wallMs()),
    vectorClock: {},
    payload: new Uint8Array(),
  }
  emitter.emit('event', event)
}
