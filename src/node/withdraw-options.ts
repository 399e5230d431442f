import { checkActor } from '../ledger/entry.js'
import type { ConsistencyLevel } from '../sync/consistency.js'
import { CONSISTENCY_LEVELS } from '../sync/consistency.js'
import { InvalidArgumentError } from '../sync/errors.js'
import type { ByOption } from './operation-recorder.js'

export interface OperationOptions extends ByOption {
  /** Names the operation: a retry with the same id takes effect once, also after a restart of this server. */
  readonly operationId?: string
}

export interface WithdrawOptions extends ByOption {
  /** Default 'optimistic'; with level STRONG 'backed'. */
  readonly mode?: 'optimistic' | 'backed'
  /**
   * Resolve only when the withdrawal has got so far. LOCAL, EVENTUAL: this server's journal holds it. QUORUM: the
   * journals of a majority of the known servers do. STRONG: backed, and on a majority, so that it is final and
   * survives the loss of this server.
   */
  readonly level?: ConsistencyLevel
  /** How long to wait for rights (mode 'backed') and for the level, together; default 5,000. */
  readonly timeoutMs?: number
  /** Ends the waiting. */
  readonly signal?: AbortSignal
  /** Only tells what would happen. */
  readonly simulate?: boolean
  /** As for `deposit`. */
  readonly operationId?: string
}

const DEFAULT_TIMEOUT_MS = 5_000

export type CheckedWithdrawOptions = ReturnType<typeof checkWithdrawOptions>

/** @throws InvalidArgumentError */
export function checkWithdrawOptions(options: WithdrawOptions) {
  const known = ['mode', 'level', 'timeoutMs', 'signal', 'simulate', 'operationId', 'by']
  requireOptions(options, known, 'withdraw')
  const { level, timeoutMs = DEFAULT_TIMEOUT_MS, signal, simulate = false, operationId, by } = options
  const { mode = level === 'STRONG' ? 'backed' : 'optimistic' } = options
  if (mode !== 'optimistic' && mode !== 'backed')
    throw new InvalidArgumentError(`withdraw: no mode ${String(mode)}`)
  if (level !== undefined && !CONSISTENCY_LEVELS.includes(level))
    throw new InvalidArgumentError(`withdraw: no consistency level ${String(level)}`)
  if (level === 'STRONG' && mode !== 'backed')
    throw new InvalidArgumentError("withdraw: level STRONG goes with mode 'backed'")
  if (!(Number.isFinite(timeoutMs) && timeoutMs >= 0))
    throw new InvalidArgumentError('withdraw: timeoutMs of 0 or more')
  return { mode, level, timeoutMs, signal, simulate, operationId, by }
}

/** @throws InvalidArgumentError for what is no known option, and for a `by` that is no text */
export function requireOptions(options: ByOption, known: readonly string[], call: string): void {
  if (typeof options !== 'object' || options === null)
    throw new InvalidArgumentError(`${call}: options expected`)
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new InvalidArgumentError(`${call}: unknown option ${name}`)
  }
  if (options.by !== undefined) checkActor(options.by)
}
