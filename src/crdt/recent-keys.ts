/** Keys remembered for all namespaces of a table together: the items that are used all the time. */
export const MAX_RECENT_KEYS = 16_384
/** One in so many keys that were not remembered is: what is used often is soon among them, and a walk displaces little. */
const REMEMBERED_ONE_IN = 8
/** After so many looks is judged whether they are worth it: when fewer than a quarter found something, none for a while. */
const LOOKS = 4_096
const PAUSE = 32_768

/** What the memories of one table have in common: how much they may hold together, and whether they are of use. */
export class RecentBudget {
  /** All that was remembered in an earlier one is forgotten. */
  generation = 0
  private remembered = 0
  private misses = 0
  private looks = 0
  private hits = 0
  private pause = 0

  isWorthALook(): boolean {
    if (this.pause > 0) {
      this.pause -= 1
      return false
    }
    this.looks += 1
    if (this.looks < LOOKS) return true
    if (this.hits < LOOKS / 4) this.pause = PAUSE
    this.looks = 0
    this.hits = 0
    return true
  }

  hit(): void {
    this.hits += 1
  }

  /** Whether a key that was not remembered is to be. */
  mayRemember(): boolean {
    // Perhaps it is: nobody has looked.
    if (this.pause > 0) return false
    this.misses += 1
    if (this.misses % REMEMBERED_ONE_IN !== 0) return false
    if (this.remembered >= MAX_RECENT_KEYS) {
      this.remembered = 0
      this.generation += 1
    }
    this.remembered += 1
    return true
  }
}

/**
 * Key → entry for keys used lately. The engine keeps a string's hash with the string, so a `Map` finds it without a look
 * at its characters; but a `Map` of all keys would cost more memory than the table. Only ever a shortcut to what
 * the index says.
 */
export class RecentKeys {
  private entries = new Map<string, number>()
  private generation = 0

  constructor(private readonly budget: RecentBudget) {}

  get(key: string): number | undefined {
    const { budget } = this
    if (!budget.isWorthALook()) return undefined
    if (this.generation !== budget.generation) this.begin()
    const entry = this.entries.get(key)
    if (entry !== undefined) budget.hit()
    return entry
  }

  /** Was looked up in the index; `keyOf` makes a string of its own, that keeps no larger one alive. */
  found(entry: number, keyOf: (entry: number) => string): void {
    if (!this.budget.mayRemember()) return
    if (this.generation !== this.budget.generation) this.begin()
    this.entries.set(keyOf(entry), entry)
  }

  forget(key: string): void {
    this.entries.delete(key)
  }

  private begin(): void {
    this.entries = new Map()
    this.generation = this.budget.generation
  }
}
