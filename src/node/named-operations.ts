import type { OwnWrite } from '../crdt/own-writes.js'
import type { Partition } from '../crdt/partition.js'
import { ConflictError } from '../sync/errors.js'
import type { OperationLog } from './operation-log.js'
import { Receipt } from './receipt.js'
import type { StorageHost } from './storage-host.js'
import { Withdrawal } from './withdrawal.js'
import type { Withdrawals } from './withdrawals.js'
import { WriteGroup } from './write-group.js'

/** One call of an operation: the id its caller gave it, and what it does, which is to be the same at a retry. */
export interface NamedCall {
  readonly operationId: string
  readonly content: string
}

/** The operations of a storage to which callers gave ids: each takes effect once. */
export class NamedOperations {
  /** Ids of withdrawals that wait for rights: nothing says yet that they were made. */
  private readonly underWay = new Set<string>()

  constructor(
    private readonly storage: string,
    private readonly partition: Partition,
    private readonly host: StorageHost,
    private readonly withdrawals: Withdrawals,
    private readonly log: OperationLog,
  ) {}

  /**
   * A receipt of the earlier call with this id; undefined when there was none.
   * @throws InvalidArgumentError for a malformed id; ConflictError when the id was used for something else, or by a
   * call that is not done
   */
  receipt(call: NamedCall | undefined, quantity: number | bigint): Receipt | undefined {
    const known = call && this.find(call)
    return known && new Receipt(this.host, this.groupOf(known.isPending), quantity)
  }

  /** Likewise the withdrawal that the earlier call made, as it stands now. @throws as `receipt` */
  withdrawal(call: NamedCall | undefined, quantity: number | bigint): Withdrawal | undefined {
    const known = call && this.find(call)
    if (!known) return undefined
    const made = this.withdrawals.recall(this.storage, known.withdrawalId)
    return new Withdrawal(this.host, this.groupOf(known.isPending), quantity, made)
  }

  /**
   * The write that goes into one batch with what the call does. Made only when that is certain to happen: it takes a
   * row of the table.
   */
  record({ operationId, content }: NamedCall, withdrawalId = ''): OwnWrite {
    return this.log.write(this.storage, operationId, content, withdrawalId)
  }

  /** Keeps others from taking up the id while this call waits. */
  async alone<Result>(call: NamedCall | undefined, work: () => Promise<Result>): Promise<Result> {
    if (call === undefined) return work()
    this.underWay.add(call.operationId)
    try {
      return await work()
    } finally {
      this.underWay.delete(call.operationId)
    }
  }

  private find({ operationId, content }: NamedCall) {
    if (this.underWay.has(operationId)) throw new ConflictError(`operation ${operationId} is still under way`)
    return this.log.find(this.storage, operationId, content)
  }

  /** The group commit of something that was written before: under way, or long durable. */
  private groupOf(isPending: boolean): WriteGroup {
    if (isPending) return this.host.groupOf(this.partition)
    const { replica, known } = this.partition.ownReplica
    const group = new WriteGroup()
    group.durable.reach(undefined)
    group.numbered.reach({ partition: this.partition.name, replica, number: known })
    return group
  }
}
