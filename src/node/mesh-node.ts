import { CellKind } from '../crdt/cell.js'
import type { Partition } from '../crdt/partition.js'
import type { Environment } from '../environment/environment.js'
import { createRealEnvironment } from '../environment/real-environment.js'
import type { LedgerEntry } from '../ledger/entry.js'
import { checkQuery, type LedgerOptions } from '../ledger/query.js'
import type { Anchors } from '../registry/anchors.js'
import type { OwnedTransfer } from '../registry/transfer-ownership.js'
import type { Transfers } from '../registry/transfers.js'
import { WatchStream } from '../registry/watch-stream.js'
import type { Lock, LockOptions } from '../strong/locks.js'
import { checkServerId, checkStorageId, checkWorldId } from '../sync/checks.js'
import type { ConsistencyLevel } from '../sync/consistency.js'
import { CONSISTENCY_LEVELS } from '../sync/consistency.js'
import { ConfigError, InvalidArgumentError } from '../sync/errors.js'
import type { SyncEvent } from '../sync/event.js'
import type { ServerIdentity } from '../sync/identity.js'
import type { AuditEntry } from './audit.js'
import { checkOptions, type MeshNodeOptions, type NodeConfig } from './config.js'
import type { MeshAudit } from './mesh-audit.js'
import type { MeshAuditOptions } from './mesh-auditor.js'
import { releasedNameKey } from './mesh-view.js'
import { NodeCore } from './node-core.js'
import type { NodeEvents } from './node-events.js'
import { partitionOfWorld, SHARED_PARTITION, worldOfPartition } from './partitions.js'
import type { PublishOptions } from './publications.js'
import type { Receipt } from './receipt.js'
import { describeRaft, type MemberStatus, type NodeStatus, type RaftView } from './status.js'
import { Storage } from './storage.js'
import type { TransferProgress } from './transfer-runner.js'
import type { WithdrawalCase } from './withdrawal.js'

export interface StateOptions {
  /** After so long the value reads as absent everywhere. Left out: it stays. */
  readonly timeToLiveMs?: number
}

/**
 * A node of the mesh, embedded in a game server.
 *
 * Everything written through it is applied here at once and journalled in a group commit; it spreads to the
 * other servers by itself. With a `dataDir` all of it survives a crash from the moment `receipt.durable`
 * resolves; without one it survives as long as some server that received it lives.
 */
export class MeshNode implements AsyncDisposable {
  private readonly storages = new Map<string, Storage>()
  private readonly streams = new Set<WatchStream<SyncEvent>>()

  private constructor(
    private readonly config: NodeConfig,
    private readonly core: NodeCore,
  ) {
    core.on('event', (event) => {
      for (const stream of this.streams) stream.push(event)
    })
    core.changedHere = (partition, entry) => this.entryChanged(partition, entry)
  }

  /**
   * Starts a node: takes the data directory, replays the journal, listens, begins to dial. It resolves as soon
   * as the node can be used; it does not wait for peers (see `ready`).
   * @throws ConfigError, DirectoryInUseError, JournalDamagedError, AddressInUseError, DiskError
   */
  static async start(options: MeshNodeOptions): Promise<MeshNode> {
    const config = checkOptions(options)
    const environment: Environment = options.environment ?? createRealEnvironment()
    const core = await NodeCore.open(config, environment)
    const node = new MeshNode(config, core)
    try {
      await core.connect()
    } catch (error) {
      await core.stop()
      throw error
    }
    return node
  }

  get identity(): ServerIdentity {
    const address = this.core.listenAddress
    const url = address === '' ? undefined : new URL(address)
    return {
      serverId: this.config.serverId,
      clusterId: this.config.clusterId,
      hostname: url?.hostname ?? '',
      port: Number(url?.port ?? 0),
    }
  }

  /** `ws://host:port` where others may dial this server; '' when it only dials. */
  get address(): string {
    return this.core.listenAddress
  }

  /**
   * Resolves when this server has caught up with the first peer it met, or at once when it has no peers to
   * wait for. Rejects with NotRunningError when the node stops before.
   */
  get ready(): Promise<void> {
    return this.core.ready
  }

  /**
   * A storage by its id; made by its first deposit. With `world`, it lives in that world's partition, which
   * only servers hosting the world have.
   * @throws InvalidArgumentError for a malformed id, or a world that this server does not host
   */
  storage(id: string, options: { readonly world?: string } = {}): Storage {
    checkStorageId(id)
    requireKnownOptions(options, ['world'])
    const { world } = options
    const name = world === undefined ? SHARED_PARTITION : partitionOfWorld(checkWorldId(world))
    const partition = this.core.partition(name)
    if (!partition) throw new InvalidArgumentError(`world ${world} is not among this server's worlds`)
    const key = `${name}\n${id}`
    let storage = this.storages.get(key)
    if (!storage) {
      storage = new Storage(
        id,
        world,
        partition,
        this.core,
        this.core.settlements.of(partition),
        this.core.operations(partition),
        this.config.durability === 'sync',
        this.core.durables.recorder,
      )
      this.storages.set(key, storage)
    }
    return storage
  }

  /** Ids of the storages that hold or have held something, with the world of each. */
  storageIds(): { id: string; world: string | undefined }[] {
    const ids: { id: string; world: string | undefined }[] = []
    for (const partition of this.core.partitions()) {
      for (const { kind, name, entries } of partition.table.namespaces.values()) {
        if (kind === CellKind.counter && entries.size > 0)
          ids.push({ id: name, world: worldOfPartition(partition.name) })
      }
    }
    return ids
  }

  /** Anchors: blocks in a world that open a storage. Strongly consistent. */
  get anchors(): Anchors {
    return this.core.registry.anchors
  }

  /** Transfers: links that move items from one anchor's storage to another's. Strongly consistent. */
  get transfers(): Transfers {
    return this.core.registry.transfers
  }

  /**
   * The transfers that this server, and no other, runs at present: moves their items, unless `runTransfers` is
   * false. Each with a fencing token, and a signal that fires when it is another's.
   */
  get ownedTransfers(): ReadonlyMap<string, OwnedTransfer> {
    return this.core.registry.ownership.owned()
  }

  /** How far the transfers that this server owns have got: moving, idle, waiting for rights, or why not. */
  transferProgress(): TransferProgress[] {
    return this.core.transfers.progress()
  }

  /** Who owns a transfer, as the strong store says here; and how far it has got, if it is this server. */
  transferRun(id: string): { owner: string | undefined; progress: TransferProgress | undefined } {
    return { owner: this.core.registry.ownership.ownerOf(id), progress: this.core.transfers.progressOf(id) }
  }

  /**
   * Runs `operation` while this server holds the mesh-wide lock `key`. The lock has a lease: its signal aborts
   * when that is lost, and `fencingToken` lets whoever guards the resource refuse a holder that is late.
   * @throws LockTimeoutError, LockReentryError, NoQuorumError, AbortedError, InvalidArgumentError; and what the
   * operation throws
   */
  executeAtomic<Value>(
    key: string,
    operation: (lock: Lock) => Promise<Value> | Value,
    options: LockOptions = {},
  ): Promise<Value> {
    return this.core.registry.locks.executeAtomic(key, operation, options)
  }

  /** The strong group as this server sees it; undefined while it takes no part yet. */
  raft(): RaftView | undefined {
    return describeRaft(this.core.strong.status())
  }

  /** Asks the leader of the strong group to hand over to that server. @throws ConflictError */
  transferLeadership(serverId: string): void {
    this.core.strong.transferLeadership(serverId)
  }

  /** Compensated withdrawals of this server that the application has not acknowledged, oldest first. */
  compensations(): WithdrawalCase[] {
    return this.core.settlements.compensations()
  }

  /**
   * Says that the application has dealt with a compensation (taken the items back); it is not told again.
   * Returns false when there is none of that id.
   */
  acknowledgeCompensation(id: string): boolean {
    this.core.requireWritable()
    return this.core.settlements.acknowledge(id)
  }

  /** Withdrawals of this server that lost a conflict and wait for a person to decide. */
  conflicts(): WithdrawalCase[] {
    return this.core.settlements.conflicts()
  }

  /**
   * Decides a parked conflict: 'compensate' takes the withdrawal back, 'keep' lets it stand and writes off what
   * is missing. Returns false when no such case is parked here.
   */
  resolveConflict(id: string, decision: 'compensate' | 'keep'): boolean {
    if (decision !== 'compensate' && decision !== 'keep')
      throw new InvalidArgumentError("decision: 'compensate' or 'keep'")
    this.core.requireWritable()
    return this.core.settlements.decide(id, decision)
  }

  /**
   * Per item: what was deposited, withdrawn and compensated, what is unsettled, and whether rights and quantity
   * agree. Each as it is when it is looked at; a walk in slices that stalls nobody. Ends with `signal`.
   */
  audit(options: { readonly signal?: AbortSignal } = {}): AsyncIterableIterator<AuditEntry> {
    requireKnownOptions(options, ['signal'])
    return this.core.auditor.items(options.signal)
  }

  /**
   * Compares all servers of the mesh with this one, replica by replica and cell by cell, while they go on
   * working, and asks each whether its own books balance. What one server is told of another may be on its way,
   * so only what both know is compared. Servers that cannot be reached or compared in time are named.
   *
   * Rejects with InvalidArgumentError, OverloadedError (one audit at a time), AbortedError, NotRunningError.
   */
  auditMesh(options: MeshAuditOptions = {}): Promise<MeshAudit> {
    requireKnownOptions(options, ['timeoutMs', 'signal', 'onProgress'])
    return this.core.auditor.auditMesh(options)
  }

  /**
   * What was done on this server (deposits, withdrawals, batches, moves of transfers, settlements, refusals): who,
   * what, when and how it ended, oldest first; the newest `limit` only, when given. With `follow` it goes on with
   * what comes, until `signal` or the end of the loop. A line is written when its operation is durable; what could
   * not be written down, or was lost in a crash, shows as a gap.
   * @throws ConfigError when this node keeps no ledger (option `ledger`); InvalidArgumentError. The iteration: DiskError
   */
  ledger(options: LedgerOptions = {}): AsyncIterableIterator<LedgerEntry> {
    requireKnownOptions(options, ['item', 'storage', 'by', 'sinceMs', 'limit', 'follow', 'signal'])
    const { ledger } = this.core.durables
    if (!ledger) throw new ConfigError('this node keeps no ledger: start it with the option ledger')
    return ledger.entries(checkQuery(options))
  }

  /** Sets a small shared value (last writer wins); undefined removes it. @throws InvalidArgumentError */
  setState(key: string, value: Uint8Array | undefined, options: StateOptions = {}): Receipt {
    requireKnownOptions(options, ['timeToLiveMs'])
    return this.core.state.set(key, value, options.timeToLiveMs)
  }

  /** The value as this server sees it; undefined when absent, removed or expired. */
  getState(key: string): Uint8Array | undefined {
    return this.core.state.get(key)
  }

  /**
   * Publishes an event to all servers, kept for `retentionMs`. Delivered here at once, elsewhere when it is
   * durable here. @throws InvalidArgumentError
   */
  publish(options: PublishOptions): { event: SyncEvent; receipt: Receipt } {
    requireKnownOptions(options, ['type', 'entityType', 'entityId', 'payload'])
    return this.core.publications.publish(options)
  }

  /**
   * Events from now on: published ones from every server, and SERVER_JOIN and SERVER_LEAVE as seen here. Ends
   * with `signal`, with the node, or when the loop is left; throws OverloadedError when the reader leaves too
   * many waiting.
   */
  events(options: { readonly signal?: AbortSignal } = {}): AsyncIterableIterator<SyncEvent> {
    requireKnownOptions(options, ['signal'])
    const stream = new WatchStream<SyncEvent>((ended) => this.streams.delete(ended), options.signal)
    this.streams.add(stream)
    return stream
  }

  /** A listener for `compensated` is told a turn later of those that nobody has acknowledged yet. */
  on<Name extends keyof NodeEvents>(name: Name, listener: (...args: NodeEvents[Name]) => void): this {
    this.core.on(name, listener)
    if (name === 'compensated')
      this.core.settlements.tellAgain(listener as (...args: NodeEvents['compensated']) => void)
    return this
  }

  off<Name extends keyof NodeEvents>(name: Name, listener: (...args: NodeEvents[Name]) => void): this {
    this.core.off(name, listener)
    return this
  }

  /** All servers of the mesh that this one knows of, itself included. */
  members(): MemberStatus[] {
    return this.core.members()
  }

  /**
   * Gives up the name of a server that lost its disk and with it the key that owned the name, so that it may
   * come back with a new key. @throws NotFoundError; ConflictError while that server is alive
   */
  releaseName(serverId: string): Receipt {
    const key = this.core.view.keyToRelease(checkServerId(serverId))
    return this.core.state.set(releasedNameKey(serverId), key, undefined)
  }

  status(): NodeStatus {
    return this.core.status()
  }

  /** Waits until everything written so far has reached the level. @throws as `Receipt.reached` */
  async flush(
    level: ConsistencyLevel = 'LOCAL',
    options: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<void> {
    if (!CONSISTENCY_LEVELS.includes(level))
      throw new InvalidArgumentError(`no consistency level ${String(level)}`)
    requireKnownOptions(options, ['timeoutMs', 'signal'])
    await this.core.flush(level, options)
  }

  /**
   * For chaos scripts and drills: closes and refuses links with these servers until called again without
   * them. An empty set heals. @throws InvalidArgumentError
   */
  setCut(serverIds: Iterable<string>): void {
    this.core.setCut(new Set(serverIds))
  }

  /**
   * Stops: takes no more writes, makes all that were taken durable, tells the peers, closes links and files.
   * With `depart` the server also leaves the membership, so that quorums no longer count it. Idempotent.
   */
  async stop(options: { readonly depart?: boolean } = {}): Promise<void> {
    requireKnownOptions(options, ['depart'])
    await this.core.stop(options.depart ?? false)
    for (const storage of this.storages.values()) storage.end()
    for (const stream of [...this.streams]) stream.end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  private entryChanged(partition: Partition, entry: number): void {
    const { name } = partition.table.namespaceOf(entry)
    this.storages.get(`${partition.name}\n${name}`)?.changed(entry)
  }
}

function requireKnownOptions(options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null)
    throw new InvalidArgumentError('options: an object expected')
  for (const name of Object.keys(options)) {
    if (!known.includes(name))
      throw new InvalidArgumentError(`unknown option ${name}; known: ${known.join(', ')}`)
  }
}
