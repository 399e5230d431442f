import type { ProvisionalWithdrawal } from '../crdt/provisional.js'
import { serverOfReplica } from '../sync/identity.js'
import { Receipt, type ReceiptHost } from './receipt.js'
import type { MadeWithdrawal, Settled } from './withdrawals.js'
import { WriteGroup } from './write-group.js'

/** A withdrawal that was made: backed and final, or provisional and to be settled. */
export class Withdrawal extends Receipt {
  /** @internal */
  constructor(
    host: ReceiptHost,
    group: WriteGroup,
    quantity: number | bigint,
    private readonly made: Pick<MadeWithdrawal, 'id' | 'kind' | 'settled'> | undefined,
    /** True: nothing was taken, this only tells what would have happened. */
    readonly isSimulated = false,
  ) {
    super(host, group, quantity)
  }

  /** @internal */
  static simulated(host: ReceiptHost, quantity: number | bigint, kind: MadeWithdrawal['kind']): Withdrawal {
    const group = new WriteGroup()
    group.durable.reach(undefined)
    const withdrawal = new Withdrawal(host, group, quantity, undefined, true)
    withdrawal.foreseen = kind
    return withdrawal
  }

  private foreseen: MadeWithdrawal['kind'] | undefined

  /** 'backed': final from the first moment. 'provisional': see `settled`. */
  get kind(): 'backed' | 'provisional' {
    return this.foreseen ?? this.made?.kind ?? 'backed'
  }

  /** UUIDv7 of a provisional withdrawal, by which events name it; undefined when backed. */
  get id(): string | undefined {
    return this.made?.kind === 'provisional' ? this.made.id : undefined
  }

  /**
   * Resolves when it is certain whether the withdrawal stands: 'confirmed' (at once when backed), 'compensated'
   * (the items are back in the storage and must be taken from the player), or 'kept' by a person's decision.
   * Rejects with NotRunningError when the node stops before; the `compensated` event of the next start tells.
   */
  get settled(): Promise<Settled> {
    return this.made ? this.made.settled.wait() : Promise.resolve('confirmed')
  }
}

/** A provisional withdrawal as events and lists show it. */
export interface WithdrawalCase {
  readonly id: string
  readonly serverId: string
  readonly storage: string
  readonly item: string
  readonly amount: bigint
  readonly madeAtMs: number
  readonly state: ProvisionalWithdrawal['state']
}

export function describeCase(withdrawal: ProvisionalWithdrawal): WithdrawalCase {
  const { id, replica, storage, item, amount, madeAtMs, state } = withdrawal
  return { id, serverId: serverOfReplica(replica), storage, item, amount: BigInt(amount), madeAtMs, state }
}
