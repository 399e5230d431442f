import { CellKind } from '../crdt/cell.js'
import type { Partition } from '../crdt/partition.js'
import type { Environment, KeyPair } from '../environment/environment.js'
import { nextTurn } from '../environment/next-turn.js'
import type { JournalStatus } from '../journal/journal.js'
import type { LinkManager } from '../link/link-manager.js'
import { MIN_SECRET_BYTES } from '../link/link-manager-options.js'
import type { Registry } from '../registry/registry.js'
import type { StrongGroup } from '../strong/strong-group.js'
import type { ConsistencyLevel } from '../sync/consistency.js'
import { NotRunningError, type SiloMeshError } from '../sync/errors.js'
import type { SyncEvent } from '../sync/event.js'
import { Coalesced } from './coalesced.js'
import type { EncodedDelta } from './committer.js'
import type { NodeConfig } from './config.js'
import { Consistency } from './consistency.js'
import { DurableState, type DurableStateOwner } from './durable-state.js'
import type { ReadOptions } from './fresh-reads.js'
import type { GossipDriver } from './gossip-driver.js'
import type { Incarnation } from './journal-records.js'
import type { ReachOptions } from './levels.js'
import { MemberDirectory } from './members.js'
import { MeshAuditor } from './mesh-auditor.js'
import { MeshView, releasedNameKey } from './mesh-view.js'
import { NodeEmitter, type NodeEvents } from './node-events.js'
import { createGossip } from './node-gossip.js'
import { createLinks } from './node-links.js'
import { OperationLog } from './operation-log.js'
import { Presence } from './presence.js'
import { Publications } from './publications.js'
import { Rejoin } from './rejoin.js'
import { loadServerKey, readSecretFile } from './server-key.js'
import { createSettlements } from './settlement-room.js'
import type { Settlements } from './settlements.js'
import { SharedState } from './shared-state.js'
import { describeMembers, describeNode, type MemberStatus, type NodeStatus } from './status.js'
import type { StorageHost } from './storage-host.js'
import { checkGroupEntry, createStrongRoom, groupEntry } from './strong-room.js'
import type { TransferRunner } from './transfer-runner.js'
import { withdrawalId } from './withdrawals.js'
import { Milestone, type WriteGroup } from './write-group.js'
import { Writership } from './writership.js'

/**
 * The rooms of a node put together: durable state below, gossip and links beside it. `MeshNode` is its face.
 */
export class NodeCore implements StorageHost, DurableStateOwner {
  changedHere: (partition: Partition, entry: number) => void = () => undefined
  readonly state: SharedState
  readonly publications: Publications
  readonly strong: StrongGroup
  readonly registry: Registry
  readonly transfers: TransferRunner
  readonly settlements: Settlements
  readonly auditor: MeshAuditor
  private readonly emitter: NodeEmitter
  private readonly gossip: GossipDriver
  private readonly directory: MemberDirectory
  readonly view: MeshView
  private readonly writership: Writership
  private readonly presence: Presence
  private readonly consistency: Consistency
  private readonly rejoin: Rejoin
  private readonly links: LinkManager
  private readonly readiness = new Milestone<undefined>()
  private readonly startedMs: number
  private readonly targets: Coalesced
  private readonly reachable: Coalesced
  private stopping: Promise<void> | undefined

  private constructor(
    private readonly config: NodeConfig,
    readonly environment: Environment,
    readonly durables: DurableState,
    keyPair: KeyPair,
    secret: Uint8Array,
  ) {
    const { clock, scheduler } = environment
    const { shared } = durables.partitions
    this.startedMs = clock.monotonicMs()
    this.emitter = new NodeEmitter(config.logger)
    this.directory = new MemberDirectory(shared, config.logger)
    this.gossip = createGossip({
      config,
      environment,
      durables,
      emitter: this.emitter,
      ownWritesLost: (replica, number, name) => this.writership.writesLost(replica, number, name),
      digestHeard: (server, digest) => {
        this.rejoin.heardFrom(server, digest)
        this.writership.progressed()
      },
      merged: () => this.merged(),
      acknowledged: () => this.consistency.acknowledged(),
      onRaftMessage: (tuple) => this.strong.receive(tuple),
      onBorrowMessage: (server, type, tuple) => this.settlements.receive(server, type, tuple),
      onAuditMessage: (server, type, tuple) => this.auditor.receive(server, type, tuple),
      knownServers: (partition) => this.view.knownServers(partition),
      isReady: () => this.readiness.reached,
    })
    this.view = new MeshView(config.serverId, this.directory, this.gossip.membership, (server) =>
      this.state.get(releasedNameKey(server)),
    )
    this.consistency = new Consistency({
      serverId: config.serverId,
      gossip: this.gossip,
      view: this.view,
      scheduler,
      readiness: this.readiness,
    })
    this.writership = new Writership({
      durables,
      formerWrites: this.view.formerWrites,
      logger: config.logger,
      scheduler,
      patienceMs: 2 * config.rejoinGraceMs,
      isStopping: () => this.stopping !== undefined,
      onMayVote: () => this.startStrong(),
      onIncarnation: (incarnation, before) => this.incarnationChanged(incarnation, before),
    })
    this.rejoin = new Rejoin({
      partitions: durables.partitions.byName,
      scheduler,
      graceMs: config.rejoinGraceMs,
      formerWrites: this.view.formerWrites,
      others: () => this.view.others(config.peers),
      onVerified: () => this.writership.verified(),
      onReady: () => {
        this.readiness.reach(undefined)
        this.consistency.membersMayDiffer()
      },
    })
    this.targets = new Coalesced(scheduler, () => {
      this.links.setTargets(this.view.addresses(config.peers))
      this.consistency.membersMayDiffer()
    })
    // Rights can be asked of the servers that are linked.
    this.reachable = new Coalesced(scheduler, () =>
      this.settlements.setReachable(this.view.replicasOf(this.links.links.keys())),
    )
    this.links = createLinks({
      config,
      environment,
      durables,
      keyPair,
      secret,
      view: this.view,
      emitter: this.emitter,
      gossip: this.gossip,
      onLinksChanged: () => this.reachable.ask(),
      onLinkLost: (server) => this.strong.linkLost(server),
    })
    this.presence = new Presence({
      config,
      environment,
      durables,
      directory: this.directory,
      publicKey: keyPair.publicKey,
      address: () => this.listenAddress,
      isVoter: () => this.strong.isVoter,
    })
    const room = {
      config,
      environment,
      durables,
      view: this.view,
      emitter: this.emitter,
      replicator: () => this.gossip.replicator,
      canWrite: () => this.canWrite(),
    }
    this.settlements = createSettlements(room)
    const { strong, registry, transfers } = createStrongRoom({
      ...room,
      onWritten: () => this.presence.strongWritten(),
      lastHeardMs: (server) => this.links.links.get(server)?.lastHeardMs,
      withdrawals: this.settlements.of(shared),
      changed: (entry) => this.changedHere(shared, entry),
    })
    this.strong = strong
    this.registry = registry
    this.transfers = transfers
    const { gossip, settlements, view } = this
    this.auditor = new MeshAuditor({ ...config, environment, durables, gossip, settlements, view })
    this.state = new SharedState(shared, clock, this)
    const deliver = (event: SyncEvent) => this.emitter.emit('event', event)
    this.publications = new Publications({ ...config, environment, shared, host: this, deliver })
    durables.serve(this)
  }

  /** @throws ConfigError, DirectoryInUseError, JournalDamagedError, DiskError */
  static async open(config: NodeConfig, environment: Environment): Promise<NodeCore> {
    const secret =
      config.secret ?? (await readSecretFile(environment.disk, config.secretFile!, MIN_SECRET_BYTES))
    const durables = await DurableState.open(config, environment)
    try {
      checkGroupEntry(config, durables)
      const keyPair = await loadServerKey(environment, config.dataDir)
      return new NodeCore(config, environment, durables, keyPair, secret)
    } catch (error) {
      await durables.close()
      throw error
    }
  }

  /** @throws AddressInUseError */
  async connect(): Promise<void> {
    const { scheduler } = this.environment
    // Over several turns: all of this code runs for the first time, in a process that may have a game running.
    await nextTurn(scheduler)
    // A replica that has never run before has nothing that its peers could know better.
    if (this.durables.incarnation.starts === 1) this.rejoin.verify()
    this.rejoin.start()
    this.writership.start(this.config.recoverRaft !== undefined)
    await nextTurn(scheduler)
    await this.links.start()
    this.presence.announce()
    await nextTurn(scheduler)
    this.targets.now()
    this.gossip.start()
    this.settlements.start()
  }

  get listenAddress(): string {
    return this.links.listenAddress
  }

  get ready(): Promise<void> {
    return this.readiness.wait()
  }

  on<Name extends keyof NodeEvents>(name: Name, listener: (...args: NodeEvents[Name]) => void): void {
    this.emitter.on(name, listener)
  }

  off<Name extends keyof NodeEvents>(name: Name, listener: (...args: NodeEvents[Name]) => void): void {
    this.emitter.off(name, listener)
  }

  partition(name: string): Partition | undefined {
    return this.durables.partitions.byName.get(name)
  }

  partitions(): IterableIterator<Partition> {
    return this.durables.partitions.byName.values()
  }

  requireWritable(): void {
    if (this.stopping) throw new NotRunningError('the node is stopping')
    this.durables.requireWritable()
  }

  private canWrite(): boolean {
    return !this.stopping && this.durables.journalStatus === 'ok' && !this.durables.committer.isOverloaded
  }

  groupOf(partition: Partition): WriteGroup {
    return this.durables.groupOf(partition)
  }

  reached(group: WriteGroup, level: ConsistencyLevel, options: ReachOptions): Promise<void> {
    return this.consistency.reached(group, level, options)
  }

  read<Value>(partition: Partition, options: ReadOptions, take: () => Value): Promise<Value> {
    return this.consistency.read(partition, options, take)
  }

  async flush(level: ConsistencyLevel, options: ReachOptions): Promise<void> {
    this.requireWritable()
    await Promise.all(this.durables.openGroups().map((group) => this.reached(group, level, options)))
    await this.durables.committer.whenIdle()
  }

  setCut(servers: ReadonlySet<string>): void {
    this.links.setCut(servers)
  }

  members(): MemberStatus[] {
    const { config, directory, gossip, links } = this
    return describeMembers(config.serverId, directory.all(), gossip.membership, links.links)
  }

  status(): NodeStatus {
    return describeNode({
      config: this.config,
      replica: this.durables.incarnation.replica,
      address: this.listenAddress,
      journal: this.durables.journalStatus,
      numberingHeld: this.durables.committer.numberingHeld,
      links: this.links.links.size,
      members: this.view.knownServers().length,
      partitions: this.partitions(),
      unnumbered: (partition) => this.durables.committer.unnumberedEntries(partition),
      transfers: { owned: this.transfers.count, moved: this.transfers.moved },
      uptimeMs: this.environment.clock.monotonicMs() - this.startedMs,
    })
  }

  stop(depart = false): Promise<void> {
    this.stopping ??= this.shutDown(depart)
    return this.stopping
  }

  entryChanged(partition: Partition, entry: number): void {
    switch (partition.table.namespaceOf(entry).kind) {
      case CellKind.counter:
        this.settlements.changed(partition, entry)
        this.transfers.changed(partition, entry)
        this.changedHere(partition, entry)
        return
      case CellKind.provisional:
        this.settlements.changed(partition, entry)
        return
      case CellKind.member:
        this.directory.invalidate()
        if (this.view.isSuperseded(this.durables.incarnation.replica)) this.writership.outdated()
        this.reachable.ask()
        this.targets.ask()
        return
      case CellKind.event:
        this.publications.arrived(entry)
        return
    }
  }

  committed(partition: Partition, deltas: readonly EncodedDelta[]): void {
    this.gossip.replicator.ownAdvanced(partition, deltas)
    this.transfers.committed(partition, deltas)
  }

  durable(position: number): void {
    this.gossip.replicator.durable(position)
    this.strong.durable(position)
  }

  journalStatus(status: JournalStatus, error: SiloMeshError | undefined): void {
    if (status === 'ok') this.writership.journalRecovered()
    this.emitter.emit('journal', { status, error })
  }

  private merged(): void {
    this.consistency.merged()
    this.rejoin.progressed()
    this.writership.progressed()
  }

  private incarnationChanged({ replica, starts }: Incarnation, before: string): void {
    this.gossip.membership.changeIncarnation(replica, starts)
    this.presence.announce()
    this.rejoin.verify()
    this.strong.changeIncarnation(replica)
    this.settlements.changeIncarnation()
    this.emitter.emit('incarnation', { replica, before })
  }

  private startStrong(): void {
    const { config, durables } = this
    this.strong.start(durables.incarnation.replica, groupEntry(config))
    this.registry.start()
  }

  withdrawalId(): string {
    return withdrawalId(this.environment)
  }

  operations(partition: Partition): OperationLog {
    return new OperationLog(partition, this.environment.clock, this.config.operationRetentionMs)
  }

  private async shutDown(depart: boolean): Promise<void> {
    this.rejoin.stop()
    this.presence.stop()
    this.targets.stop()
    this.reachable.stop()
    this.consistency.stopReads()
    this.transfers.stop()
    await this.registry.stop()
    await this.strong.stop()
    this.settlements.stop()
    this.auditor.stop()
    if (depart || this.config.dataDir === undefined) {
      await this.presence.depart(this.consistency.waiters, this.links.links.size > 0)
    }
    this.gossip.announceLeave()
    // Writes become durable and go out before the links close; a disk that takes none is reported by `close`.
    await this.durables.committer.whenIdle()
    this.gossip.stop()
    await this.links.stop()
    const failure = await this.durables.close().catch((error: unknown) => error)
    this.consistency.stop()
    this.readiness.fail(new NotRunningError('the node stopped before it was ready'), true)
    this.emitter.emit('stopped')
    if (failure) throw failure
  }
}
