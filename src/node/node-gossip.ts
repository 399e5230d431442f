import type { Environment } from '../environment/environment.js'
import type { ReplicatorPorts } from '../gossip/ports.js'
import type { NodeConfig } from './config.js'
import type { DurableState } from './durable-state.js'
import { GossipDriver, type GossipDriverOptions } from './gossip-driver.js'
import type { NodeEmitter } from './node-events.js'
import { announceStatus } from './server-events.js'

type Callbacks = Pick<ReplicatorPorts, 'ownWritesLost' | 'digestHeard' | 'merged' | 'acknowledged'> &
  Pick<
    GossipDriverOptions,
    'onRaftMessage' | 'onBorrowMessage' | 'onAuditMessage' | 'knownServers' | 'isReady'
  >

export interface NodeGossipOptions extends Callbacks {
  readonly config: NodeConfig
  readonly environment: Environment
  readonly durables: DurableState
  readonly emitter: NodeEmitter
}

/** What a node tells its peers and hears from them, with what it needs of its disk and its application. */
export function createGossip(options: NodeGossipOptions): GossipDriver {
  const { config, durables, emitter, environment, ...callbacks } = options
  const { ownWritesLost, digestHeard, merged, acknowledged, ...handlers } = callbacks
  return new GossipDriver({
    environment,
    ports: {
      serverId: config.serverId,
      partitions: durables.partitions.byName,
      store: (delta) => durables.store(delta),
      canStore: () => durables.canStore(),
      ownWritesLost,
      digestHeard,
      merged,
      acknowledged,
      mismatch: (serverId, partition, replica) => {
        config.logger.error({ serverId, partition, replica }, 'equal vectors, unequal state: full exchange')
        emitter.emit('mismatch', { serverId, partition, replica })
      },
      soon: (task) => environment.scheduler.soon(task),
      uniform: () => environment.random.uniform(),
    },
    incarnation: durables.incarnation,
    syncIntervalMs: config.syncIntervalMs,
    heartbeatIntervalMs: config.heartbeatIntervalMs,
    checksumIntervalMs: config.checksumIntervalMs,
    acceptablePauseMs: config.acceptablePauseMs,
    onStatusChange: (change) => {
      config.logger.info({ ...change }, 'server status')
      announceStatus(emitter, environment, config.serverId, change)
    },
    onHousekeeping: () => {
      const beforeMs = environment.clock.wallMs() - config.retentionMs
      for (const partition of durables.partitions.byName.values()) partition.removeExpired(beforeMs)
    },
    ...handlers,
  })
}
