import { isChest } from './chests.js'
import type { LoggedOperation } from './operation-log.js'
import { itemKey, placeOf, type Quantities } from './verdict.js'

/** What transfers have moved, by the servers' own logs and the final quantities alone. */
export interface MovedItems {
  /** Put into chests, as acknowledged. */
  readonly put: bigint
  /** Ended in a chest into which nobody had put them; at least so many, on every server. */
  readonly moved: bigint
}

export function countMoved(
  logs: readonly (readonly LoggedOperation[])[],
  finals: readonly Quantities[],
): MovedItems {
  let put = 0n
  /** By chest and item. What is unknown may have been put in: then it was not moved there. */
  const mostPut = new Map<string, bigint>()
  for (const { kind, storage, item, amount, outcome } of logs.flat()) {
    if (!isChest(storage) || kind !== 'deposit' || outcome === 'refused') continue
    const key = itemKey(storage, item)
    mostPut.set(key, (mostPut.get(key) ?? 0n) + BigInt(amount))
    if (outcome === 'acknowledged') put += BigInt(amount)
  }
  const movedOn = finals.map((quantities) => {
    let surplus = 0n
    for (const [key, quantity] of quantities) {
      const foreign = quantity - (mostPut.get(key) ?? 0n)
      if (isChest(placeOf(key)[0]) && foreign > 0n) surplus += foreign
    }
    return surplus
  })
  const [moved = 0n] = movedOn.sort((left, right) => (left < right ? -1 : 1))
  return { put, moved }
}
