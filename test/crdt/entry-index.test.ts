import fc from 'fast-check'
import t from 'tap'
import { Int32Column } from '../../src/crdt/column.js'
import { EntryIndex, type EntryRows } from '../../src/crdt/entry-index.js'
import { MAX_RECENT_KEYS, RecentBudget, RecentKeys } from '../../src/crdt/recent-keys.js'

class Rows implements EntryRows {
  readonly keys: string[] = []
  readonly hashes: number[] = []
  readonly entryPosition = new Int32Column()

  push(key: string, hash: number): number {
    this.entryPosition.push(-1)
    this.hashes.push(hash)
    return this.keys.push(key) - 1
  }

  keyOf(entry: number): string {
    return this.keys[entry]!
  }

  entryHasKey(entry: number, key: string): boolean {
    return this.keys[entry] === key
  }

  entryHashOf(entry: number): number {
    return this.hashes[entry]!
  }
}

/** The index and the naive twin that it must not differ from. */
class Pair {
  private readonly rows = new Rows()
  readonly index = new EntryIndex(this.rows, 7)
  readonly twin = new Map<string, number>()

  constructor(private readonly hashOf: (key: string) => number = (key) => this.index.hashOf(key)) {}

  toggle(key: string): void {
    const known = this.twin.get(key)
    if (known === undefined) {
      const entry = this.rows.push(key, this.hashOf(key))
      this.index.add(entry, this.hashOf(key))
      this.twin.set(key, entry)
      return
    }
    this.index.remove(known)
    this.twin.delete(key)
  }

  find(key: string): number | undefined {
    return this.index.find(key, this.hashOf(key))
  }

  differences(keys: Iterable<string>): string[] {
    const wrong: string[] = []
    for (const key of keys) if (this.find(key) !== this.twin.get(key)) wrong.push(key)
    const sorted = (entries: Iterable<number>) => [...entries].sort((left, right) => left - right).join()
    if (this.index.size !== this.twin.size) wrong.push(`size ${this.index.size}`)
    if (sorted(this.index.values()) !== sorted(this.twin.values())) wrong.push('values')
    return wrong
  }
}

t.test('an index is a map, whatever is added and removed, colliding or not', async () => {
  const keys = Array.from({ length: 60 }, (_, number) => `key:${number}`)
  const collide = (key: string) => key.length
  for (const hash of [undefined, collide]) {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...keys), { maxLength: 400 }), (toggles) => {
        const pair = new Pair(hash)
        for (const key of toggles) {
          pair.toggle(key)
          if (pair.find(key) !== pair.twin.get(key)) return false
        }
        return pair.differences(keys).length === 0
      }),
    )
  }
})

t.test('every key is found at every moment of growing, and after a great many removals', async (t) => {
  const pair = new Pair()
  const keys: string[] = []
  for (let number = 0; number < 3000; number++) {
    const key = `minecraft:item_${number}`
    keys.push(key)
    pair.toggle(key)
    // Every one of them, each time, near a doubling and now and then.
    if (number < 300 || number % 500 === 0) t.same(pair.differences(keys), [])
  }
  t.same([...pair.index].slice(0, 2), [
    ['minecraft:item_0', 0],
    ['minecraft:item_1', 1],
  ])
  t.equal(pair.index.get('minecraft:item_2999'), 2999)
  t.notOk(pair.index.has('minecraft:item_3000'))
  for (let round = 0; round < 5; round++) for (const key of keys) pair.toggle(key)
  t.same(pair.differences(keys), [])
  t.equal(pair.index.size, 0)
})

t.test('keys that are used all the time are remembered, and never wrongly', async () => {
  const keys = Array.from({ length: 40 }, (_, number) => `key:${number}`)
  const steps = fc.array(fc.record({ key: fc.constantFrom(...keys), times: fc.nat(20) }), { maxLength: 60 })
  fc.assert(
    fc.property(steps, (list) => {
      const pair = new Pair()
      return list.every(({ key, times }) => {
        pair.toggle(key)
        // Often enough to be remembered, present or not.
        for (let time = 0; time < times; time++)
          for (const other of keys.slice(0, 10))
            if (pair.index.get(other) !== pair.twin.get(other)) return false
        return pair.index.get(key) === pair.twin.get(key)
      })
    }),
  )
})

t.test('a memory of keys is bounded, shared by all, and left alone where it is of no use', async (t) => {
  const budget = new RecentBudget()
  const [first, second] = [new RecentKeys(budget), new RecentKeys(budget)]
  const rememberAll = (memory: RecentKeys, keys: readonly string[]) => {
    for (const [entry, key] of keys.entries())
      for (let time = 0; time < 8; time++) memory.found(entry, () => key)
  }
  const held = (memory: RecentKeys, keys: readonly string[]) =>
    keys.filter((key) => memory.get(key) !== undefined).length
  rememberAll(first, ['a'])
  t.equal(first.get('a'), 0)
  t.equal(second.get('a'), undefined)
  rememberAll(
    second,
    Array.from({ length: MAX_RECENT_KEYS }, (_, number) => `b:${number}`),
  )
  t.equal(first.get('a'), undefined, 'forgotten with all that was remembered before')
  const last = [`b:${MAX_RECENT_KEYS - 1}`]
  t.equal(held(second, last), 1)
  for (let look = 0; look < 4_096; look++) second.get('absent')
  t.equal(held(second, last), 0, 'nobody looks for a while')
  for (let look = 0; look < 32_768; look++) second.get(last[0]!)
  t.equal(held(second, last), 1)
  first.forget('a')
  second.forget(last[0]!)
  t.equal(held(second, last), 0)
})
