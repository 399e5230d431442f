import type { ConflictResolver } from '../conflict/resolver.js'
import type { Standing } from '../conflict/standing.js'
import type { Partition } from '../crdt/partition.js'
import type { Environment } from '../environment/environment.js'
import { type ReplicaId, serverOfReplica } from '../sync/identity.js'
import type { Logger } from '../sync/logger.js'
import { MessageType } from '../wire/message-type.js'
import type { WireTuple } from '../wire/wire-value.js'
import { borrowHeader } from './borrow-messages.js'
import type { NodeEmitter } from './node-events.js'
import type { OperationRecorder } from './operation-recorder.js'
import { worldOfPartition } from './partitions.js'
import { describeCase, type WithdrawalCase } from './withdrawal.js'
import { Withdrawals } from './withdrawals.js'
import type { WriteGroup } from './write-group.js'

export interface SettlementsOptions {
  readonly partitions: ReadonlyMap<string, Partition>
  readonly environment: Environment
  readonly resolver: ConflictResolver
  readonly emitter: NodeEmitter
  /** Undefined: no ledger is kept. */
  readonly recorder: OperationRecorder | undefined
  readonly logger: Logger
  readonly standing: (partition: Partition) => Standing
  readonly groupOf: (partition: Partition) => WriteGroup
  /** Sends to a server, if it is linked. */
  readonly send: (server: string, message: Uint8Array) => void
  /** Whether own writes reach the journal: only then may rights move. */
  readonly canWrite: () => boolean
}

/** The withdrawals of all partitions: one settlement each. */
export class Settlements {
  private readonly byPartition = new Map<Partition, Withdrawals>()

  constructor(private readonly options: SettlementsOptions) {
    for (const partition of options.partitions.values())
      this.byPartition.set(partition, this.create(partition))
  }

  of(partition: Partition): Withdrawals {
    return this.byPartition.get(partition)!
  }

  start(): void {
    for (const withdrawals of this.byPartition.values()) withdrawals.start()
  }

  stop(): void {
    for (const withdrawals of this.byPartition.values()) withdrawals.stop()
  }

  changed(partition: Partition, entry: number): void {
    this.byPartition.get(partition)?.changed(entry)
  }

  changeIncarnation(): void {
    for (const withdrawals of this.byPartition.values()) withdrawals.changeIncarnation()
  }

  setReachable(replicas: ReadonlySet<ReplicaId>): void {
    for (const withdrawals of this.byPartition.values()) withdrawals.setReachable(replicas)
  }

  /** @throws FrameError */
  receive(server: string, type: number, tuple: WireTuple): void {
    const { partition: name, from } = borrowHeader(tuple)
    const partition = this.options.partitions.get(name)
    // A server may ask and answer for itself only.
    if (!partition || serverOfReplica(from) !== server || !this.options.canWrite()) return
    const withdrawals = this.of(partition)
    if (type === MessageType.borrow) withdrawals.receiveAsks(from, tuple)
    else withdrawals.receiveAnswers(from, tuple)
  }

  compensations(): WithdrawalCase[] {
    return this.all().flatMap((withdrawals) => withdrawals.unacknowledged().map(describeCase))
  }

  /** For a listener that has just come. */
  tellAgain(listener: (withdrawal: WithdrawalCase) => void): void {
    const open = this.compensations()
    if (open.length === 0) return
    this.options.environment.scheduler.soon(() => {
      for (const withdrawal of open) {
        try {
          listener(withdrawal)
        } catch (error) {
          this.options.logger.error({ event: 'compensated', error }, 'a listener threw')
        }
      }
    })
  }

  acknowledge(id: string): boolean {
    return this.all().some((withdrawals) => withdrawals.acknowledge(id))
  }

  conflicts(): WithdrawalCase[] {
    return this.all().flatMap((withdrawals) => withdrawals.parked().map(describeCase))
  }

  decide(id: string, decision: 'compensate' | 'keep'): boolean {
    return this.all().some((withdrawals) => withdrawals.decide(id, decision))
  }

  private all(): Withdrawals[] {
    return [...this.byPartition.values()]
  }

  private create(partition: Partition): Withdrawals {
    const { emitter, environment, groupOf, recorder, resolver, send, standing } = this.options
    const world = worldOfPartition(partition.name)
    return new Withdrawals({
      partition,
      environment,
      resolver,
      standing: standing(partition),
      groupOf,
      send: (replica, message) => send(serverOfReplica(replica), message),
      onCompensated: (withdrawal) => emitter.emit('compensated', describeCase(withdrawal)),
      onParked: (withdrawal) => {
        recorder?.settled(describeCase(withdrawal), world)
        emitter.emit('conflict', describeCase(withdrawal))
      },
      onSettled: (withdrawal) => {
        recorder?.settled(describeCase(withdrawal), world)
        emitter.emit('settled', describeCase(withdrawal))
      },
    })
  }
}
