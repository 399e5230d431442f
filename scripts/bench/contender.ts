import type { ChainableCommander, Redis } from 'ioredis'
import type { Storage } from '../../src/index.js'
import { ITEM_KEYS, itemKeys } from './items.js'

/** An operation in Redis, where items are fields of a hash. */
export interface RedisOperation {
  /** Of the command. */
  readonly name: string
  /** As ioredis has it, awaited or in a pipeline. */
  ask(of: Redis | ChainableCommander, hash: string, key: string): unknown
  /** As it goes over the wire. */
  words(hash: string, key: string): (string | number)[]
}

/** What the contenders of a benchmark do over and over: an operation on one item, in the words of each system. */
export interface Workload {
  /** Of the operations, in the plural. */
  readonly name: string
  /** Quantity of each item at the beginning. */
  readonly inStock: number
  /** What an operation adds to the quantity of its item. */
  readonly adds: 1 | -1
  /** silo-mesh: an operation on each key from `first` up to before `end`, in a loop that has nothing else in it. */
  burst(storage: Storage, keys: readonly string[], first: number, end: number): void
  redisOperation(client: Redis): Promise<RedisOperation>
}

export interface Work {
  /** Those that are as durable as the system makes them. */
  readonly operations: number
  readonly elapsedMs: number
}

/** A system that does a workload, on the items of a stock of its own. */
export abstract class Contender {
  /** In random order, gone through over and over. */
  protected readonly keys: readonly string[] = itemKeys()
  private operations = 0

  constructor(
    readonly name: string,
    protected readonly workload: Workload,
  ) {}

  async prepare(): Promise<void> {
    const { inStock } = this.workload
    if (inStock > 0) await this.fill(inStock)
  }

  /** Works for about `spanMs` and waits until all of it is in. */
  async work(spanMs: number): Promise<Work> {
    const startedMs = performance.now()
    const operations = await this.workUntil(startedMs + spanMs)
    this.operations += operations
    return { operations, elapsedMs: performance.now() - startedMs }
  }

  /** @throws when the quantities do not add up to what was done: a rate of lost operations is worth nothing. */
  async verify(): Promise<void> {
    const { inStock, adds, name } = this.workload
    const expected = BigInt(ITEM_KEYS * inStock + adds * this.operations)
    const found = await this.quantity()
    if (found === expected) return
    throw new Error(`${this.name}: ${found} after ${this.operations} ${name}, ${expected} should be there`)
  }

  /** Gives every item its quantity. */
  protected abstract fill(quantity: number): Promise<void>
  /** Resolves with the number of operations when all of them are in. */
  protected abstract workUntil(endMs: number): Promise<number>
  /** Of all items together. */
  protected abstract quantity(): Promise<bigint>
}
