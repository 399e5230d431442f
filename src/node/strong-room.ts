import { createRegistry, type Registry } from '../registry/registry.js'
import { type GroupEntry, StrongGroup } from '../strong/strong-group.js'
import { ConfigError } from '../sync/errors.js'
import { serverOfReplica } from '../sync/identity.js'
import type { NodeConfig } from './config.js'
import type { DurableState } from './durable-state.js'
import { raftLinks } from './mesh-view.js'
import type { Room } from './room.js'
import { TransferRunner } from './transfer-runner.js'
import type { Withdrawals } from './withdrawals.js'

export interface StrongRoomOptions extends Room {
  /** The strong group has written to the journal. */
  readonly onWritten: () => void
  /** Monotonic time at which something last came over the link to that server. */
  readonly lastHeardMs: (server: string) => number | undefined
  /** Of the shared partition. */
  readonly withdrawals: Withdrawals
  /** An own write has changed an entry of the shared partition. */
  readonly changed: (entry: number) => void
}

interface StrongRoom {
  readonly strong: StrongGroup
  readonly registry: Registry
  readonly transfers: TransferRunner
}

/** Life signs go over every link: when so many are missing, it may be dead without knowing it. */
const QUIET_HEARTBEATS = 2.5

/** The strong group of a node and what stands on it: anchors, locks, transfers, and running these. */
export function createStrongRoom(options: StrongRoomOptions): StrongRoom {
  const { config, durables, emitter, environment, replicator, view } = options
  const { logger, serverId } = config
  const strong = new StrongGroup({
    environment,
    logger,
    serverId,
    disk: durables.raftDisk,
    ...config.raft,
    links: raftLinks(replicator, (server) => {
      const quietMs = environment.clock.monotonicMs() - (options.lastHeardMs(server) ?? 0)
      return quietMs > QUIET_HEARTBEATS * config.heartbeatIntervalMs
    }),
    append: (records) => {
      options.onWritten()
      return durables.append(records)
    },
    whenDurable: (position) => durables.whenDurable(position),
    servers: () => view.serverViews(),
    onLeaderChange: (leader) =>
      emitter.emit('leader', { serverId: leader === undefined ? undefined : serverOfReplica(leader) }),
  })
  const registry = createRegistry({
    store: strong,
    environment,
    serverId,
    liveServers: () => view.liveServers(),
    onEvent: (event) => emitter.emit('event', event),
    logger,
  })
  const { shared } = durables.partitions
  const transfers = new TransferRunner({
    partition: shared,
    environment,
    registry,
    run: config.runTransfers,
    withdrawals: options.withdrawals,
    canWrite: options.canWrite,
    moved: (move, from, to) => {
      const group = durables.groupOf(shared)
      durables.recorder?.moved(move, group)
      options.changed(from)
      options.changed(to)
    },
  })
  return { strong, registry, transfers }
}

/** @throws ConfigError when what the options ask for does not fit what this server already is */
export function checkGroupEntry(config: NodeConfig, durables: DurableState): void {
  const belongs = durables.raftDisk.group.groupId !== ''
  if (config.found && belongs) {
    throw new ConfigError('found: this server already belongs to a mesh; start it without')
  }
  if (config.recoverRaft && !belongs) {
    throw new ConfigError('recoverRaft: this server belongs to no strong group that could be recovered')
  }
}

export function groupEntry(config: NodeConfig): GroupEntry {
  if (config.found) return 'found'
  return config.recoverRaft ? 'recover' : 'rejoin'
}
