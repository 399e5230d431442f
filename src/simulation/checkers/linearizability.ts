/** What somebody did to one register (one key), with what was answered. `undefined` as a value: the key is absent. */
export type RegisterOperation =
  | { readonly kind: 'read'; readonly value: string | undefined }
  | { readonly kind: 'write'; readonly value: string | undefined }
  | {
      readonly kind: 'compare-and-set'
      readonly expected: string | undefined
      readonly value: string
      /** Undefined: it is not known whether the comparison held. */
      readonly succeeded: boolean | undefined
    }

export interface HistoryEntry {
  readonly operation: RegisterOperation
  readonly calledUs: number
  /** Undefined: no outcome is known. It may have happened at any time since the call, or may never happen. */
  readonly returnedUs: number | undefined
  /** For people. */
  readonly server: number
}

/** 'undecided': more configurations than `MAX_CONFIGURATIONS` would have to be looked at. */
export type Verdict = 'linearizable' | 'violated' | 'undecided'

/** Pairs of (operations done, state) looked at for one register. */
export const MAX_CONFIGURATIONS = 300_000

/**
 * Whether there is an order of the operations, each between its call and its return, in which every answer is that
 * of a register that is initially absent (Herlihy and Wing 1990). The search is that of Wing and Gong 1993 with the
 * memory of configurations already tried of Lowe 2017; registers are checked one by one, since linearizability is
 * local. An operation of unknown outcome is tried at every point after its call, and left out.
 */
export function checkRegister(history: readonly HistoryEntry[]): Verdict {
  const entries = history
    .filter(({ operation, returnedUs }) => returnedUs !== undefined || operation.kind !== 'read')
    .sort((left, right) => left.calledUs - right.calledUs)
  return new Search(entries).run()
}

class Search {
  private readonly done: Uint8Array
  private readonly tried = new Set<string>()
  /** Operations with an outcome that have no place yet. */
  private open: number

  constructor(private readonly entries: readonly HistoryEntry[]) {
    this.done = new Uint8Array(entries.length)
    this.open = entries.filter(({ returnedUs }) => returnedUs !== undefined).length
  }

  run(): Verdict {
    try {
      return this.place(undefined, 0) ? 'linearizable' : 'violated'
    } catch (error) {
      if (error instanceof TooMany) return 'undecided'
      throw error
    }
  }

  /** Whether everything open can be placed from this state on. Entries before `from` all have their place. */
  private place(state: string | undefined, from: number): boolean {
    if (this.open === 0) return true
    let first = from
    while (this.done[first] === 1) first++
    const configuration = `${this.key(first)} ${state ?? ''}`
    if (this.tried.has(configuration)) return false
    if (this.tried.size >= MAX_CONFIGURATIONS) throw new TooMany()
    this.tried.add(configuration)
    const candidates = this.candidates(first)
    // A read, or a comparison that failed, is taken without a look at the alternatives where its answer fits: in any
    // order that has it later it may come here as well, for it may be next, and nobody notices it.
    const silent = candidates.find((at) => this.isSilent(at, state))
    if (silent !== undefined) return this.take(silent, state, first)
    // Those with an outcome first: most histories need few of the others.
    return [false, true].some((unknown) =>
      candidates.some(
        (at) => (this.entries[at]!.returnedUs === undefined) === unknown && this.take(at, state, first),
      ),
    )
  }

  private isSilent(at: number, state: string | undefined): boolean {
    const { operation } = this.entries[at]!
    const isObserver =
      operation.kind === 'read' || (operation.kind === 'compare-and-set' && operation.succeeded === false)
    return isObserver && apply(operation, state) !== REFUTED
  }

  /** Whether everything open can be placed when this comes next. */
  private take(at: number, state: string | undefined, first: number): boolean {
    const { operation, returnedUs } = this.entries[at]!
    const next = apply(operation, state)
    if (next === REFUTED) return false
    const opened = returnedUs === undefined ? 0 : 1
    this.done[at] = 1
    this.open -= opened
    if (this.place(next, first)) return true
    this.done[at] = 0
    this.open += opened
    return false
  }

  /** Those that may come next: called before every return of what has no place yet. */
  private candidates(first: number): number[] {
    let earliestReturnUs = Infinity
    const candidates: number[] = []
    for (let at = first; at < this.entries.length; at++) {
      const { calledUs, returnedUs } = this.entries[at]!
      // Sorted by call: nothing later can be a candidate.
      if (calledUs > earliestReturnUs) break
      if (this.done[at] === 1) continue
      candidates.push(at)
      if (returnedUs !== undefined) earliestReturnUs = Math.min(earliestReturnUs, returnedUs)
    }
    return candidates
  }

  /** Which operations have their place; all before `first` have. */
  private key(first: number): string {
    let last = this.done.length
    while (last > first && this.done[last - 1] === 0) last--
    return `${first}:${this.done.subarray(first, last).join('')}`
  }
}

class TooMany extends Error {}

const REFUTED = Symbol('refuted')

/** The state after it, or that its answer cannot be. */
function apply(operation: RegisterOperation, state: string | undefined): string | undefined | typeof REFUTED {
  switch (operation.kind) {
    case 'read':
      return operation.value === state ? state : REFUTED
    case 'write':
      return operation.value
    case 'compare-and-set': {
      const { expected, value, succeeded } = operation
      const holds = expected === state
      if (succeeded !== undefined && succeeded !== holds) return REFUTED
      return holds ? value : state
    }
  }
}
