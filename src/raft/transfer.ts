import type { RaftCore } from './core.js'
import type { TransferRequest } from './messages.js'
import type { Refusal } from './refusals.js'
import type { NodeId } from './types.js'

/**
 * Hands leadership to another voter (thesis 3.10): no new proposals, bring it up to date, then tell it to
 * stand at once. Undone after an election timeout. Undefined when it is under way; else why not.
 */
export function startTransfer(core: RaftCore, target: NodeId): Refusal | undefined {
  if (!core.isLeader) {
    if (core.leader === undefined) return 'no-leader'
    core.send({ type: 'transfer', to: core.leader, target })
    return undefined
  }
  if (!core.membership.current.voters.includes(target)) return 'not-a-member'
  if (target === core.id || core.transfer?.target === target) return undefined
  core.transfer = { target, sinceTick: core.ticks }
  handOverIfCaughtUp(core)
  return undefined
}

export function handleTransferRequest(core: RaftCore, message: TransferRequest): void {
  if (core.isLeader) startTransfer(core, message.target)
}

export function handOverIfCaughtUp(core: RaftCore): void {
  if (core.transfer === undefined) return
  const { target } = core.transfer
  if (core.progress.get(target)?.match === core.log.lastIndex) core.send({ type: 'timeout-now', to: target })
}
