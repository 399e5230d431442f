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
 * local. An operation of unknown outcome may take effect at any point after its call, or not at all.
 *
 * Orders that say nothing new are not tried: one in which nobody needs what an operation of unknown outcome wrote is
 * as good without it; a read may come as soon as its answer fits. The naive twin in the tests tries them all.
 */
export function checkRegister(history: readonly HistoryEntry[]): Verdict {
  const entries = history
    .filter(({ operation, returnedUs }) => returnedUs !== undefined || operation.kind !== 'read')
    .sort((left, right) => left.calledUs - right.calledUs)
  return new Search(entries).run()
}

interface Register {
  readonly value: string | undefined
  /** Set while nobody has needed what an operation of unknown outcome wrote: the value before it. */
  readonly unneeded?: { readonly before: string | undefined } | undefined
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
      return this.place({ value: undefined }, 0) ? 'linearizable' : 'violated'
    } catch (error) {
      if (error instanceof TooMany) return 'undecided'
      throw error
    }
  }

  /** Whether everything open can be placed from this state on. Entries before `from` all have their place. */
  private place(register: Register, from: number): boolean {
    if (this.open === 0) return true
    let first = from
    while (this.done[first] === 1) first++
    const configuration = `${this.key(first)} ${nameOf(register)}`
    if (this.tried.has(configuration)) return false
    if (this.tried.size >= MAX_CONFIGURATIONS) throw new TooMany()
    this.tried.add(configuration)
    const candidates = this.candidates(first)
    // A read, or a comparison that failed, is taken without a look at the alternatives where its answer fits: in any
    // order that has it later it may come here as well, for it may be next, and nobody notices it.
    const silent = candidates.find((at) => isSilent(this.entries[at]!.operation, register.value))
    if (silent !== undefined) return this.take(silent, register, first)
    // Those with an outcome first: most histories need few of the others.
    return [false, true].some((unknown) =>
      candidates.some(
        (at) => (this.entries[at]!.returnedUs === undefined) === unknown && this.take(at, register, first),
      ),
    )
  }

  /** Whether everything open can be placed when this comes next. */
  private take(at: number, register: Register, first: number): boolean {
    const { operation, returnedUs } = this.entries[at]!
    const isUnknown = returnedUs === undefined
    const value = apply(operation, register.value)
    if (value === REFUTED) return false
    // A write over what nobody needed: that may as well have been left out.
    if (operation.kind === 'write' && register.unneeded) return false
    if (isUnknown && !this.isOfUse(at, value, register.value, first)) return false
    const unneeded = isUnknown ? { before: register.value } : stillUnneeded(operation, register)
    this.done[at] = 1
    if (!isUnknown) this.open -= 1
    if (this.place({ value, unneeded }, first)) return true
    this.done[at] = 0
    if (!isUnknown) this.open += 1
    return false
  }

  /** Whether anything that has no place yet could need that an operation of unknown outcome turns `before` into `value`. */
  private isOfUse(at: number, value: string | undefined, before: string | undefined, first: number): boolean {
    if (value === before) return false
    for (let other = first; other < this.entries.length; other++) {
      if (other === at || this.done[other] === 1) continue
      const { operation } = this.entries[other]!
      if (operation.kind === 'read' && operation.value === value) return true
      if (operation.kind !== 'compare-and-set') continue
      if (operation.succeeded === false ? operation.expected === before : operation.expected === value)
        return true
    }
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

function nameOf({ value, unneeded }: Register): string {
  return JSON.stringify(unneeded ? [value ?? null, unneeded.before ?? null] : [value ?? null])
}

/** Fits as an answer in this state, and changes nothing. */
function isSilent(operation: RegisterOperation, value: string | undefined): boolean {
  const isObserver =
    operation.kind === 'read' || (operation.kind === 'compare-and-set' && operation.succeeded === false)
  return isObserver && apply(operation, value) !== REFUTED
}

/** A comparison that failed needed it only if it would have held before. */
function stillUnneeded(operation: RegisterOperation, { unneeded }: Register): Register['unneeded'] {
  const isFailure = operation.kind === 'compare-and-set' && operation.succeeded === false
  return isFailure && unneeded?.before !== operation.expected ? unneeded : undefined
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
