import { setImmediate as nextTurn } from 'node:timers/promises'
import type { MeshNode, Storage } from '../../src/index.js'
import { shuffled } from './statistics.js'

export interface DepositRun {
  /** Those that are as durable as the system makes them. */
  readonly deposits: number
  readonly elapsedMs: number
}

/** A system that takes deposits of 1. */
export interface Depositor {
  readonly name: string
  /** Deposits for about `spanMs` and waits until all of them are in. */
  deposit(spanMs: number): Promise<DepositRun>
  /** @throws when the quantities do not add up to what was deposited. */
  verify(): Promise<void>
}

/** How long a game server works before it lets the event loop go round. */
const SLICE_MS = 4
/** Deposits between two looks at the clock. */
const BURST = 256

export function itemKey(position: number): string {
  return `minecraft:item_${position}`
}

export class MeshDepositor implements Depositor {
  private readonly storage: Storage
  /** The keys in random order, over and over. */
  private readonly keys: string[]
  private next = 0
  private total = 0

  constructor(
    readonly name: string,
    private readonly node: MeshNode,
    keys: number,
  ) {
    this.storage = node.storage('vault')
    this.keys = Array.from(shuffled(keys), itemKey)
  }

  async deposit(spanMs: number): Promise<DepositRun> {
    const startedMs = performance.now()
    const before = this.total
    while (performance.now() - startedMs < spanMs) {
      this.depositUntil(performance.now() + SLICE_MS)
      await nextTurn()
    }
    await this.node.flush()
    return { deposits: this.total - before, elapsedMs: performance.now() - startedMs }
  }

  async verify(): Promise<void> {
    let sum = 0n
    for (const { quantity } of this.storage.items()) sum += quantity
    if (sum !== BigInt(this.total)) throw new Error(`${this.name}: ${this.total} deposited, ${sum} found`)
  }

  private depositUntil(endMs: number): void {
    const { storage, keys } = this
    do {
      for (let count = 0; count < BURST; count++) {
        storage.deposit(keys[this.next]!, 1)
        if (++this.next === keys.length) this.next = 0
      }
      this.total += BURST
    } while (performance.now() < endMs)
  }
}
