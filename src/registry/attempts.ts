import type { Clock, Environment } from '../environment/environment.js'
import type { Comparison, Operation } from '../raft/state-machine/commands.js'
import { DEFAULT_STRONG_TIMEOUT_MS, type StrongOptions, type StrongStore } from '../strong/strong-store.js'
import { ConflictError, InvalidArgumentError, NoQuorumError, OutcomeUnknownError } from '../sync/errors.js'

/** How often a change is made anew because others changed the same thing meanwhile. */
export const MAX_ATTEMPTS = 32

/** What to do, as decided from one look at the store. */
export interface Plan {
  readonly comparisons: readonly Comparison[]
  readonly operations: readonly Operation[]
}

export interface Committed {
  /** At which it happened. */
  readonly revision: number
}

/**
 * Looks, decides and writes, so that the writing happens only if what was seen still holds (optimistic concurrency).
 *
 * `prepare` reads the local store, which may be behind: what it refuses by throwing, or settles by returning
 * undefined ("it is as wanted already"), is believed only after a barrier. An OutcomeUnknownError of the store
 * goes to the caller: trying again here could do the thing twice.
 * @throws what `prepare` throws; ConflictError after `MAX_ATTEMPTS`; everything that StrongStore throws
 */
async function attempt(
  { store, clock }: { readonly store: StrongStore; readonly clock: Clock },
  options: StrongOptions,
  prepare: () => Plan | undefined,
): Promise<Committed | undefined> {
  const deadlineMs = clock.monotonicMs() + (options.timeoutMs ?? DEFAULT_STRONG_TIMEOUT_MS)
  const rest = (): StrongOptions => {
    const timeoutMs = deadlineMs - clock.monotonicMs()
    if (timeoutMs <= 0) throw new NoQuorumError('nothing was changed within the time allowed')
    return { ...options, timeoutMs }
  }
  let fresh = false
  for (let round = 0; round < MAX_ATTEMPTS; round++) {
    let plan: Plan | undefined
    try {
      plan = prepare()
    } catch (error) {
      if (fresh || error instanceof InvalidArgumentError) throw error
    }
    if (plan !== undefined) {
      const { comparisons, operations: success } = plan
      const { succeeded, revision } = await store.transact({ comparisons, success }, rest())
      if (succeeded) return { revision }
    } else if (fresh) {
      return undefined
    }
    await store.barrier(rest())
    fresh = true
  }
  throw new ConflictError(`others changed the same thing ${MAX_ATTEMPTS} times meanwhile`)
}

/** An attempt with a name: an OutcomeUnknownError says it, so that the id of a new entity is not lost with it. */
export async function change(
  { store, environment }: { readonly store: StrongStore; readonly environment: Pick<Environment, 'clock'> },
  what: string,
  { timeoutMs, signal }: StrongOptions,
  prepare: () => Plan | undefined,
): Promise<Committed | undefined> {
  const options = { ...(timeoutMs !== undefined && { timeoutMs }), ...(signal && { signal }) }
  try {
    return await attempt({ store, clock: environment.clock }, options, prepare)
  } catch (error) {
    if (!(error instanceof OutcomeUnknownError)) throw error
    throw new OutcomeUnknownError(`${what}: ${error.message}`, { cause: error })
  }
}

/** Waits for a linearizable view if asked for. */
export async function readBarrier(
  store: StrongStore,
  { linearizable, ...options }: ReadOptions,
): Promise<void> {
  if (linearizable) await store.barrier(options)
}

export interface ReadOptions extends StrongOptions {
  /** Sees everything that any server was told is done before the call; else local, and maybe behind. */
  readonly linearizable?: boolean
}
