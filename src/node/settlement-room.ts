import type { Partition } from '../crdt/partition.js'
import type { Room } from './room.js'
import { Settlements } from './settlements.js'

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
