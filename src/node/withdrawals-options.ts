import type { ConflictResolver } from '../conflict/resolver.js'
import type { Standing } from '../conflict/standing.js'
import type { Beside } from '../conflict/withdraw-request.js'
import type { Partition } from '../crdt/partition.js'
import type { ProvisionalWithdrawal } from '../crdt/provisional.js'
import type { Environment } from '../environment/environment.js'
import type { ReplicaId } from '../sync/identity.js'
import type { WriteGroup } from './write-group.js'

export interface WithdrawalsOptions {
  readonly partition: Partition
  readonly environment: Environment
  readonly resolver: ConflictResolver
  readonly standing: Standing
  readonly groupOf: (partition: Partition) => WriteGroup
  /** Sends a message to the server of a replica, if it is linked; it may get lost. */
  readonly send: (replica: ReplicaId, message: Uint8Array) => void
  /** A withdrawal of this server has been taken back. */
  readonly onCompensated: (withdrawal: ProvisionalWithdrawal) => void
  readonly onParked: (withdrawal: ProvisionalWithdrawal) => void
  readonly onSettled: (withdrawal: ProvisionalWithdrawal) => void
}

export interface BackedOptions {
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
  readonly beside: Beside | undefined
}
