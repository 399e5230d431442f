/** Something that was put into, or taken out of, storages that transfers connect. */
interface Entry {
  readonly item: string
  /** Negative: taken out. */
  readonly amount: bigint
  durable: boolean
}

/** What the harness put into storages that transfers connect, and took out; in which of them it is is theirs to decide. */
export class TransferAccount {
  readonly storages = new Set<string>()
  readonly #entries: Entry[] = []
  /** Items a second, by transfer, that it may move at most: the highest rate that was asked for. */
  readonly rates = new Map<string, number>()

  get operations(): number {
    return this.#entries.length
  }

  record(item: string, amount: bigint): Entry {
    const entry = { item, amount, durable: false }
    this.#entries.push(entry)
    return entry
  }

  /** How many there may be in all storages together, by item. */
  bounds(): Map<string, { least: bigint; most: bigint }> {
    const bounds = new Map<string, { least: bigint; most: bigint }>()
    for (const { amount, durable, item } of this.#entries) {
      const { least, most } = bounds.get(item) ?? { least: 0n, most: 0n }
      const comesForCertain = amount > 0n ? durable : true
      const mayCome = amount > 0n ? true : durable
      bounds.set(item, {
        least: comesForCertain ? least + amount : least,
        most: mayCome ? most + amount : most,
      })
    }
    return bounds
  }
}
