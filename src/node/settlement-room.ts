import type { Partition } from '../crdt/partition.js'
import type { Environment } from '../environment/environment.js'
import type { Replicator } from '../gossip/replicator.js'
import type { NodeConfig } from './config.js'
import type { DurableState } from './durable-state.js'
import type { MeshView } from './mesh-view.js'
import type { NodeEmitter } from './node-events.js'
import { Settlements } from './settlements.js'

/** Where settlements and strong operations stand in a node. */
export interface Room {
  readonly config: NodeConfig
  readonly environment: Environment
  readonly durables: DurableState
  readonly view: MeshView
  readonly emitter: NodeEmitter
  readonly replicator: () => Replicator
  /** Whether own writes reach the journal: only then may rights and items move. */
  readonly canWrite: () => boolean
}

/** The withdrawals of a node, with what they need to know of it and of its peers. */
export function createSettlements(room: Room): Settlements {
  const { config, environment, durables, emitter, view } = room
  return new Settlements({
    partitions: durables.partitions.byName,
    environment,
    resolver: config.resolver,
    emitter,
    logger: config.logger,
    recorder: durables.recorder,
    standing: (partition: Partition) => ({
      isCertain: () => !durables.committer.numberingHeld,
      knowsFormer: () => view.formerWrites.areKnown(partition),
      isSuperseded: (replica) => view.isSuperseded(replica),
    }),
    groupOf: (partition) => durables.groupOf(partition),
    send: (server, message) => room.replicator().peers.get(server)?.link.sendControl(message),
    canWrite: room.canWrite,
  })
}
