import type { Environment, Timer } from '../environment/environment.js'
import type { MembershipChange } from '../raft/configuration.js'
import type { Message, MessageType as RaftMessageType } from '../raft/messages.js'
import type { Mutations } from '../raft/mutations.js'
import type { RaftOptions } from '../raft/options.js'
import { founding, joining } from '../raft/raft-node.js'
import type { KeyValue } from '../raft/state-machine/key-value-store.js'
import type { Result } from '../raft/state-machine/results.js'
import { StateMachine } from '../raft/state-machine/state-machine.js'
import type { RaftStatus } from '../raft/status.js'
import type { NodeId } from '../raft/types.js'
import { ConflictError, NoQuorumError, OutcomeUnknownError, SiloMeshError } from '../sync/errors.js'
import { serverOfReplica } from '../sync/identity.js'
import type { Logger } from '../sync/logger.js'
import type { WireTuple } from '../wire/wire-value.js'
import { MembershipManager, type ServerView } from './membership-manager.js'
import type { RaftDisk } from './raft-disk.js'
import { applyEntry, RaftDriver, type RaftOwner, type RaftTimings } from './raft-driver.js'
import { FIRST_EPOCH, type GroupRecord } from './raft-records.js'
import { type RaftLinks, RaftTransport } from './raft-transport.js'
import { restoreImage } from './snapshot-image.js'
import { StrongClient } from './strong-client.js'
import type {
  ListPart,
  StrongChange,
  StrongOptions,
  StrongStore,
  StrongTransaction,
  TransactionResult,
} from './strong-store.js'
import { WatchHub } from './watch-hub.js'

export interface StrongGroupOptions extends RaftTimings {
  readonly environment: Environment
  readonly logger: Logger
  readonly serverId: string
  readonly disk: RaftDisk
  readonly links: RaftLinks
  readonly maxVoters: number
  readonly voterGraceMs: number
  readonly append: (records: readonly Uint8Array[]) => number
  readonly whenDurable: (position: number) => Promise<void>
  /** All servers of the mesh, this one included, as seen here. */
  readonly servers: () => readonly ServerView[]
  readonly onLeaderChange: (leader: NodeId | undefined) => void
  /** Tests and the simulator only, as is `sizes`. */
  readonly mutations?: Mutations
  /** Other sizes of messages and windows than the driver's own. */
  readonly sizes?: Partial<RaftOptions>
}

/** How a server enters the strong group at its start. */
export type GroupEntry =
  /** As it was, or waiting to be taken in. */
  | 'rejoin'
  /** The one explicit founding of the mesh, at the first start of one server. */
  | 'found'
  /** The other voters are given up: a new epoch with this server alone. Loses what only they had. */
  | 'recover'

/** How often the leader looks after the membership. */
const MEMBERSHIP_INTERVAL_MS = 250
const GROUP_ID_BYTES = 16

/** Only a leader sends these: what a server that is in no group yet takes as an invitation. */
const FROM_LEADER: ReadonlySet<RaftMessageType> = new Set<RaftMessageType>([
  'append',
  'heartbeat',
  'snapshot',
])

/** This server's part in the Raft group of the mesh, and the strong store on top of it. */
export class StrongGroup implements StrongStore, RaftOwner {
  private driver: RaftDriver | undefined
  private node: NodeId = ''
  private readonly client: StrongClient
  private readonly transport: RaftTransport
  private readonly hub: WatchHub
  private readonly manager: MembershipManager
  private membershipTimer: Timer | undefined
  private stopped = false
  private idle: StateMachine | undefined

  constructor(private readonly options: StrongGroupOptions) {
    const { environment, serverId, links, maxVoters, voterGraceMs } = options
    this.client = new StrongClient(environment, serverId)
    this.transport = new RaftTransport(serverId, links)
    this.hub = new WatchHub(() => this.machine)
    this.manager = new MembershipManager({ maxVoters, voterGraceMs })
  }

  /**
   * Begins to take part as `node`, this server's replica. Call when it is certain that no write of that
   * replica was lost, for the votes of a restored backup must not be repeated (invariant RAFT-9). A server whose disk
   * was lost is another replica, so a new member: it answers no one but a leader that takes it in (RAFT-17).
   * @throws ConflictError for 'found' where there is a group already
   */
  start(node: NodeId, entry: GroupEntry): void {
    const { disk } = this.options
    if (entry === 'found' && disk.group.groupId !== '')
      throw new ConflictError('this server already belongs to a mesh')
    this.node = node
    this.orFail(() => this.begin(node, entry))
    const { scheduler } = this.options.environment
    this.membershipTimer ??= scheduler.after(MEMBERSHIP_INTERVAL_MS, () => this.manage())
  }

  private begin(node: NodeId, entry: GroupEntry): void {
    const { group } = this.options.disk
    if (entry === 'found') {
      this.enter({ groupId: this.freshGroupId(), epoch: FIRST_EPOCH, node, start: founding(node).snapshot })
    } else if (entry === 'recover') this.recoverAlone()
    else if (group.node !== node) this.enter({ groupId: '', epoch: 0, node, start: joining().snapshot })
    this.run()
  }

  /** The journal takes nothing any more: this member ends, the server around it goes on. */
  private orFail(action: () => void): void {
    try {
      action()
    } catch (error) {
      if (!(error instanceof SiloMeshError)) throw error
      this.driver?.stop()
      this.failed(error)
    }
  }

  /** This server writes as another replica now: for the group it is a new member. */
  changeIncarnation(node: NodeId): void {
    if (this.stopped || this.node === '' || this.node === node) return
    this.start(node, 'rejoin')
  }

  /** Hands leadership over if it has it, then stops. */
  async stop(): Promise<void> {
    const status = this.driver?.status()
    const heir = status?.members
      .filter(
        ({ node, active }) => active && node !== this.node && status.configuration.voters.includes(node),
      )
      .sort((left, right) => right.match - left.match)[0]
    if (heir && this.driver?.transferLeadership(heir.node) === undefined) await this.untilNotLeader()
    this.stopped = true
    this.membershipTimer?.cancel()
    this.driver?.stop()
    this.client.stop()
  }

  status(): { group: GroupRecord; raft: RaftStatus } | undefined {
    return this.driver && { group: this.options.disk.group, raft: this.driver.status() }
  }

  get isVoter(): boolean {
    return this.driver?.status().configuration.voters.includes(this.node) ?? false
  }

  transferLeadership(server: string): void {
    const target = this.options.servers().find(({ serverId }) => serverId === server)
    const refusal = this.driver?.transferLeadership(target?.replica ?? server)
    if (refusal !== undefined) throw new ConflictError(`leadership stays: ${refusal}`)
  }

  receive(tuple: WireTuple): void {
    const received = this.transport.receive(tuple)
    if (!received || !this.driver || this.stopped) return
    const { group } = this.options.disk
    const { groupId, epoch, message } = received
    if (groupId !== group.groupId || epoch !== group.epoch) {
      const isOurs = groupId === group.groupId || group.groupId === ''
      if (!isOurs || epoch < group.epoch || message.to !== this.node || !FROM_LEADER.has(message.type)) return
      this.options.logger.info({ groupId, epoch }, 'taken into the raft group')
      this.orFail(() => {
        this.enter({ groupId, epoch, node: this.node, start: joining().snapshot })
        this.run()
      })
    }
    this.driver.receive(message)
  }

  /** The link to that server broke, whoever broke it. */
  linkLost(server: string): void {
    const leader = this.driver?.leader
    if (leader !== undefined && serverOfReplica(leader) === server) this.driver?.linkLost(leader)
  }

  durable(position: number): void {
    this.driver?.durable(position)
  }

  // StrongStore

  get replica(): string {
    return this.node
  }

  get revision(): number {
    return this.machine.revision
  }

  get(key: string): KeyValue | undefined {
    return this.machine.get(key)
  }

  list(prefix: string, part: ListPart = {}): KeyValue[] {
    return this.machine.list({ prefix, limit: Number.POSITIVE_INFINITY, ...part })
  }

  barrier(options?: StrongOptions): Promise<void> {
    return this.client.barrier(options)
  }

  async transact(transaction: StrongTransaction, options?: StrongOptions): Promise<TransactionResult> {
    const { comparisons = [], success, failure = [] } = transaction
    const result = await this.client.run({ kind: 'transact', comparisons, success, failure }, options)
    if (result.status !== 'done') throw unexpected(result)
    return result
  }

  async grantLease(ttlMs: number, options?: StrongOptions): Promise<number> {
    const result = await this.client.run({ kind: 'grant-lease', ttlMs }, options)
    if (result.status !== 'lease') throw unexpected(result)
    return result.lease
  }

  async renewLease(lease: number, options?: StrongOptions): Promise<boolean> {
    const result = await this.client.run({ kind: 'keep-alive', lease }, options)
    return result.status === 'lease'
  }

  async revokeLease(lease: number, options?: StrongOptions): Promise<void> {
    await this.client.run({ kind: 'revoke-lease', lease }, options)
  }

  watch(prefix: string, listener: (change: StrongChange) => void): () => void {
    return this.hub.watch(prefix, listener)
  }

  // RaftOwner

  applied(index: number, request: WireTuple | undefined, result: Result): void {
    this.client.applied(index, request, result)
  }

  progressed(appliedIndex: number): void {
    this.client.progressed(appliedIndex)
    this.hub.progressed()
  }

  restored(): void {
    this.client.restored()
    this.hub.restored()
  }

  readOutcome(outcome: Parameters<RaftOwner['readOutcome']>[0]): void {
    this.client.readOutcome(outcome)
  }

  proposalOutcome(outcome: Parameters<RaftOwner['proposalOutcome']>[0]): void {
    this.client.proposalOutcome(outcome)
  }

  leaderChanged(leader: NodeId | undefined): void {
    this.client.leaderChanged()
    this.options.onLeaderChange(leader)
  }

  failed(error: unknown): void {
    this.options.logger.error({ error }, 'this member of the raft group has stopped')
    this.client.attach(undefined)
  }

  /** Before the member runs, local reads show what was committed before the restart. */
  private get machine(): StateMachine {
    if (this.driver) return this.driver.machine
    this.idle ??= committedState(this.options.disk)
    return this.idle
  }

  /** (Re)starts the member from what the disk holds. */
  private run(): RaftDriver {
    this.driver?.stop()
    const { disk, environment, logger, append, whenDurable, heartbeatMs, electionMs, maxVoters } =
      this.options
    const { mutations, sizes } = this.options
    const driver = new RaftDriver({
      environment,
      logger,
      node: this.node,
      disk,
      maxVoters,
      append,
      whenDurable,
      heartbeatMs,
      electionMs,
      send: (message) => this.send(message),
      owner: this,
      ...(mutations && { mutations }),
      ...(sizes && { sizes }),
    })
    this.driver = driver
    this.client.attach(driver)
    this.hub.restored()
    driver.start()
    return driver
  }

  private send(message: Message): void {
    if (!this.transport.send(this.options.disk.group, message)) this.driver?.unreachable(message.to)
  }

  private enter(group: GroupRecord): void {
    this.options.append([this.options.disk.enterGroup(group)])
  }

  /** Keeps the state as applied here, gives up the other voters and the log behind it. */
  private recoverAlone(): void {
    const { disk, append } = this.options
    const { groupId, epoch } = disk.group
    if (groupId === '')
      throw new NoQuorumError('this server belongs to no raft group: there is nothing to recover')
    const records = disk.recover(this.node, epoch + 1)
    append(records)
  }

  private freshGroupId(): string {
    return Buffer.from(this.options.environment.random.bytes(GROUP_ID_BYTES)).toString('hex')
  }

  private manage(): void {
    if (this.stopped) return
    this.membershipTimer = this.options.environment.scheduler.after(MEMBERSHIP_INTERVAL_MS, () =>
      this.manage(),
    )
    const status = this.driver?.status()
    if (status?.role !== 'leader' || !status.committedInTerm || !status.configurationSettled) return
    const nowMs = this.options.environment.clock.monotonicMs()
    const change = this.manager.next(status, this.options.servers(), nowMs)
    if (change) this.proposeChange(change)
  }

  /** Asks the core for a change; what would be unsafe it refuses by itself. */
  proposeChange(change: MembershipChange): void {
    const result = this.driver?.changeMembership(change)
    this.options.logger.info({ ...change, result: result?.status }, 'raft membership change')
  }

  private async untilNotLeader(): Promise<void> {
    const { clock, scheduler } = this.options.environment
    const limitMs = clock.monotonicMs() + this.options.electionMs
    while (this.driver?.isLeader && clock.monotonicMs() < limitMs) {
      await new Promise<void>((resolve) => {
        scheduler.after(10, resolve)
      })
    }
  }
}

function committedState(disk: RaftDisk): StateMachine {
  const machine = disk.image ? restoreImage(disk.image, {}) : new StateMachine()
  for (const entry of disk.committedEntries()) applyEntry(machine, entry)
  return machine
}

function unexpected(result: Result): Error {
  const reason = result.status === 'refused' ? result.reason : result.status
  return reason === 'sequence-stale'
    ? new OutcomeUnknownError('the group no longer knows the outcome')
    : new ConflictError(`refused by the state machine: ${reason}`)
}
