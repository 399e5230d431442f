import { shuffled } from './statistics.js'

/** Items that a workload goes through. */
export const ITEM_KEYS = 10_000

export function itemKey(position: number): string {
  return `minecraft:item_${position}`
}

/** The keys of `count` items, in a random order that is the same in every run and for every system. */
export function itemKeys(count = ITEM_KEYS): string[] {
  return Array.from(shuffled(count), itemKey)
}
