import type { Partition } from '../crdt/partition.js'
import type { Scheduler } from '../environment/environment.js'
import type { ConsistencyLevel } from '../sync/consistency.js'
import { NotRunningError } from '../sync/errors.js'
import { FreshReads, type ReadOptions } from './fresh-reads.js'
import type { GossipDriver } from './gossip-driver.js'
import { LevelWaiters, type ReachOptions } from './levels.js'
import type { MeshView } from './mesh-view.js'
import type { Milestone, WriteGroup } from './write-group.js'

export interface ConsistencyOptions {
  readonly serverId: string
  readonly gossip: GossipDriver
  readonly view: MeshView
  readonly scheduler: Scheduler
  /** Reached when this server has met its mesh. */
  readonly readiness: Milestone<undefined>
}

/** How far writes have got and how fresh reads are, among the servers of the mesh. */
export class Consistency {
  readonly waiters: LevelWaiters
  private readonly reads: FreshReads
  private stopping = false

  constructor({ gossip, readiness, scheduler, serverId, view }: ConsistencyOptions) {
    this.waiters = new LevelWaiters(
      serverId,
      gossip.replicator.acknowledgements,
      (partition) => view.knownServers(partition),
      scheduler,
      () => readiness.reached,
    )
    this.reads = new FreshReads(gossip.reads, scheduler)
  }

  async reached(group: WriteGroup, level: ConsistencyLevel, options: ReachOptions): Promise<void> {
    await group.durable.wait()
    if (level === 'LOCAL' || level === 'EVENTUAL') return
    await this.waiters.reach(group.numbered, level, options)
  }

  read<Value>(partition: Partition, options: ReadOptions, take: () => Value): Promise<Value> {
    if (this.stopping) return Promise.reject(new NotRunningError('the node is stopping'))
    return this.reads.read(partition, options, take)
  }

  /** Others hold more. */
  acknowledged(): void {
    this.waiters.check()
  }

  /** This server has received more. */
  merged(): void {
    this.reads.check()
  }

  /** Who belongs to the mesh may have changed. */
  membersMayDiffer(): void {
    this.waiters.check()
    this.reads.check()
  }

  /** No more reads; writes that were made may still reach their level. */
  stopReads(): void {
    this.stopping = true
    this.reads.stop()
  }

  stop(): void {
    this.waiters.stop()
  }
}
