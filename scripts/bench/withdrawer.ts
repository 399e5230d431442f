import { setImmediate as nextTurn } from 'node:timers/promises'
import type { MeshNode, Storage } from '../../src/index.js'
import { itemKey } from './local-deposits.js'
import { shuffled } from './statistics.js'

export interface WithdrawRun {
  /** Those that are as durable as the system makes them. */
  readonly withdrawals: number
  readonly elapsedMs: number
}

/** A system that gives out items one by one, as long as there are any. */
export interface Withdrawer {
  readonly name: string
  /** Withdraws for about `spanMs` and waits until all of them are in. */
  withdraw(spanMs: number): Promise<WithdrawRun>
  /** @throws when what is left does not add up. */
  verify(): Promise<void>
}

/** In stock of each item at the beginning: more than anybody takes. */
export const PER_ITEM = 1_000_000
/** How long a game server works before it lets the event loop go round. */
const SLICE_MS = 4
/** Withdrawals between two looks at the clock. */
const BURST = 256

/** Backed withdrawals of one server, each answered within the call. */
export class MeshWithdrawer implements Withdrawer {
  private readonly storage: Storage
  private readonly keys: string[]
  private next = 0
  private taken = 0

  private constructor(
    readonly name: string,
    private readonly node: MeshNode,
    items: number,
  ) {
    this.storage = node.storage('vault')
    this.keys = Array.from(shuffled(items), itemKey)
  }

  static async filled(name: string, node: MeshNode, items: number): Promise<MeshWithdrawer> {
    const withdrawer = new MeshWithdrawer(name, node, items)
    for (const key of withdrawer.keys) withdrawer.storage.deposit(key, PER_ITEM)
    await node.flush()
    return withdrawer
  }

  async withdraw(spanMs: number): Promise<WithdrawRun> {
    const startedMs = performance.now()
    const before = this.taken
    while (performance.now() - startedMs < spanMs) {
      this.withdrawUntil(performance.now() + SLICE_MS)
      await nextTurn()
    }
    await this.node.flush()
    return { withdrawals: this.taken - before, elapsedMs: performance.now() - startedMs }
  }

  async verify(): Promise<void> {
    let left = 0n
    for (const { quantity } of this.storage.items()) left += quantity
    const expected = BigInt(this.keys.length * PER_ITEM - this.taken)
    if (left !== expected) throw new Error(`${this.name}: ${left} are left, ${expected} should be`)
  }

  private withdrawUntil(endMs: number): void {
    const { storage, keys } = this
    do {
      for (let count = 0; count < BURST; count++) {
        if (this.next === keys.length) this.next = 0
        if (!storage.tryWithdraw(keys[this.next++]!, 1))
          throw new Error(`${this.name}: a withdrawal was refused`)
      }
      this.taken += BURST
    } while (performance.now() < endMs)
  }
}
