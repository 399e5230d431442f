import type { LoggedOperation } from './operation-log.js'

/** Withdrawals by the servers' own logs. */
export interface WithdrawalCounts {
  /** Final from the first moment. */
  readonly backed: number
  /** Made beyond the own rights; each is confirmed or compensated in the end. */
  readonly provisional: number
  readonly confirmed: number
  readonly compensated: number
}

export function countWithdrawals(logs: readonly (readonly LoggedOperation[])[]): WithdrawalCounts {
  const withdrawals = logs.flat().filter(({ kind }) => kind === 'withdraw')
  const provisional = withdrawals.filter(({ withdrawalId }) => withdrawalId !== undefined)
  const stands = ({ outcome }: LoggedOperation) => outcome === 'acknowledged'
  return {
    backed: withdrawals.filter((each) => each.withdrawalId === undefined && stands(each)).length,
    provisional: provisional.length,
    confirmed: provisional.filter(stands).length,
    compensated: provisional.filter(({ outcome }) => outcome === 'refused').length,
  }
}
