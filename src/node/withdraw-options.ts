import type { ConsistencyLevel } from '../sync/consistency.js'
import { CONSISTENCY_LEVELS } from '../sync/consistency.js'
import { InvalidArgumentError } from '../sync/errors.js'

export interface WithdrawOptions {
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

/** @throws InvalidArgumentError */
export function checkWithdrawOptions(options: WithdrawOptions) {
  const known = ['mode', 'level', 'timeoutMs', 'signal', 'simulate', 'operationId']
  requireOptions(options, known, 'withdraw')
  const { level, timeoutMs = DEFAULT_TIMEOUT_MS, signal, simulate = false, operationId } = options
  const { mode = level === 'STRONG' ? 'backed' : 'optimistic' } = options
  if (mode !== 'optimistic' && mode !== 'backed')
    throw new InvalidArgumentError(`withdraw: no mode ${String(mode)}`)
  if (level !== undefined && !CONSISTENCY_LEVELS.includes(level))
    throw new InvalidArgumentError(`withdraw: no consistency level ${String(level)}`)
  if (level === 'STRONG' && mode !== 'backed')
    throw new InvalidArgumentError("withdraw: level STRONG goes with mode 'backed'")
  if (!(Number.isFinite(timeoutMs) && timeoutMs >= 0))
    throw new InvalidArgumentError('withdraw: timeoutMs of 0 or more')
  return { mode, level, timeoutMs, signal, simulate, operationId }
}

/** @throws InvalidArgumentError */
export function requireOptions(options: object, known: readonly string[], call: string): void {
  if (typeof options !== 'object' || options === null)
    throw new InvalidArgumentError(`${call}: options expected`)
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new InvalidArgumentError(`${call}: unknown option ${name}`)
  }
}
