import assert from 'node:assert/strict'
import type { Effect } from '../../src/conflict/effects.js'
import { type ConflictResolver, lowerIdResolver } from '../../src/conflict/resolver.js'
import { Settlement } from '../../src/conflict/settlement.js'
import type { Delta } from '../../src/crdt/cell.js'
import { CellKind } from '../../src/crdt/cell.js'
import { Partition } from '../../src/crdt/partition.js'
import type { ProvisionalState } from '../../src/crdt/provisional.js'
import { provisionalFromValue } from '../../src/crdt/provisional.js'

/** A seeded generator (mulberry32), so that one seed is one history. */
export function generator(seed: number): (bound: number) => number {
  let state = seed
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * bound)
  }
}

/** Whatever is acknowledged to a player, to be compared with the cells at the end. */
export interface Ledger {
  deposited: bigint
  backed: bigint
  provisional: Map<string, { amount: bigint; server: number; outcomes: string[] }>
}

interface Letter {
  readonly to: number
  readonly effect: Extract<Effect, { type: 'borrow' | 'answer' }>
  readonly from: number
}

const STORAGE = 'vault'
const ITEM = 'minecraft:diamond'

/** One server: a partition, its settlement, the effects that wait for its flush, and what a crash leaves. */
export class ModelServer {
  partition!: Partition
  settlement!: Settlement
  journal: Delta[] = []
  /** Acknowledged only when durable: [what, undo-free action]. */
  promises: (() => void)[] = []
  held: Effect[] = []

  constructor(
    readonly place: number,
    readonly replica: string,
    private readonly resolver: ConflictResolver,
  ) {
    this.start()
  }

  start(): void {
    const partition: Partition = new Partition('p', (entry) => this.settlement?.changed(entry))
    for (const delta of this.journal) partition.merge(delta)
    partition.writeAs(this.replica)
    this.partition = partition
    this.settlement = new Settlement(partition, this.resolver)
    this.promises = []
    this.held = []
  }

  get entry(): number {
    return this.partition.table.entry(this.partition.table.namespace(CellKind.counter, STORAGE), ITEM)
  }
}

export interface ModelOptions {
  readonly servers?: number
  readonly resolver?: (server: number) => ConflictResolver
  /** Only withdrawals within rights. */
  readonly backedOnly?: boolean
}

/** Several servers, one item, any order of everything; see settlement.test.ts. */
export class Model {
  readonly servers: ModelServer[]
  readonly ledger: Ledger = { deposited: 0n, backed: 0n, provisional: new Map() }
  readonly counts = {
    backed: 0,
    provisional: 0,
    confirmed: 0,
    compensated: 0,
    crashes: 0,
    parked: 0,
    kept: 0,
  }
  nowMs = 1_000_000
  private letters: Letter[] = []
  private readonly cut = new Set<string>()
  private nextId = 0
  private healed = false

  constructor(
    private readonly random: (bound: number) => number,
    private readonly options: ModelOptions = {},
  ) {
    this.servers = Array.from(
      { length: options.servers ?? 4 },
      (_, place) => new ModelServer(place, `s${place}@1`, options.resolver?.(place) ?? lowerIdResolver),
    )
    this.updateReachable()
  }

  step(): void {
    const server = this.servers[this.random(this.servers.length)]!
    const other = this.servers[this.random(this.servers.length)]!
    this.nowMs += this.random(50)
    const action = this.random(12)
    if (action === 0) this.deposit(server)
    else if (action <= 2) this.withdraw(server)
    else if (action <= 4) this.flush(server, this.random(12))
    else if (action <= 7) this.exchange(server, other, 1 + this.random(120))
    else if (action === 8) this.deliver()
    else if (action === 9) this.cutOrMend(server, other)
    else {
      if (action === 11) {
        this.nowMs += 50 * this.random(20)
        server.settlement.tick(this.nowMs)
      }
      server.settlement.run(this.nowMs, 100)
      this.collect(server)
    }
  }

  private deposit(server: ModelServer): void {
    const amount = 1 + this.random(6)
    server.partition.own.deposit(server.entry, amount)
    server.promises.push(() => {
      this.ledger.deposited += BigInt(amount)
    })
  }

  private withdraw(server: ModelServer): void {
    const amount = 1 + this.random(6)
    const id = `id-${String(this.nextId++).padStart(6, '0')}`
    if (this.options.backedOnly) {
      if (!server.settlement.tryWithdraw(server.entry, amount)) return
      server.promises.push(() => this.backed(amount))
      return
    }
    const request = { storage: STORAGE, item: ITEM, amount, id, mode: 'optimistic', untilMs: 0 } as const
    const outcome = server.settlement.withdraw(request, this.nowMs)
    if (outcome.type === 'backed') server.promises.push(() => this.backed(amount))
    if (outcome.type === 'provisional') {
      server.promises.push(() => {
        this.counts.provisional += 1
        this.ledger.provisional.set(id, { amount: BigInt(amount), server: server.place, outcomes: [] })
      })
    }
    this.collect(server)
  }

  private backed(amount: number): void {
    this.counts.backed += 1
    this.ledger.backed += BigInt(amount)
  }

  /** A flush that completes, or a crash before or after the journal has it. */
  private flush(server: ModelServer, fate: number): void {
    const flush = server.partition.prepareFlush(60)
    if (this.healed || fate > 1) {
      if (!flush) {
        this.release(server)
        return
      }
      server.journal.push(...flush.deltas)
      server.partition.completeFlush(flush)
      if (server.partition.own.isEmpty) this.release(server)
      return
    }
    this.counts.crashes += 1
    if (flush && fate === 1 && server.partition.own.isEmpty) {
      server.journal.push(...flush.deltas)
      // The journal has it: what was done stands, though nobody was told.
      for (const promise of server.promises) promise()
    }
    server.start()
    this.updateReachable()
    this.collect(server)
  }

  private release(server: ModelServer): void {
    for (const promise of server.promises.splice(0)) promise()
    for (const effect of server.held.splice(0)) this.carryOut(server, effect)
  }

  private carryOut(server: ModelServer, effect: Effect): void {
    if (effect.type === 'settled') {
      const { id, state } = effect.withdrawal
      this.ledger.provisional.get(id)!.outcomes.push(state)
    } else if (effect.type === 'borrow' || effect.type === 'answer') {
      const to = this.servers.findIndex(({ replica }) => replica === effect.to)
      const copies = this.healed ? 1 : this.random(3)
      for (let copy = 0; copy < copies; copy++) this.letters.push({ from: server.place, to, effect })
    } else if (effect.type === 'parked') this.counts.parked += 1
  }

  private collect(server: ModelServer): void {
    server.held.push(...server.settlement.takeEffects())
  }

  /** One piece of one replica's news, over a link that may be cut one way. */
  private exchange(from: ModelServer, to: ModelServer, bytes: number): void {
    if (from === to || this.cut.has(`${from.place}>${to.place}`)) return
    const states = from.partition.replicas()
    const { replica } = states[this.random(states.length)]!
    if (replica === to.replica) return
    const delta = from.partition.deltaSince(replica, to.partition.known(replica), bytes)
    if (!delta) return
    to.journal.push(delta)
    assert.notEqual(to.partition.merge(delta), 'gap')
  }

  private deliver(): void {
    if (this.letters.length === 0) return
    const place = this.random(this.letters.length)
    const letter = this.letters[place]!
    this.letters.splice(place, 1)
    if (!this.healed && this.cut.has(`${letter.from}>${letter.to}`)) return
    const server = this.servers[letter.to]!
    const from = this.servers[letter.from]!.replica
    if (letter.effect.type === 'borrow') {
      for (const ask of letter.effect.asks) server.settlement.borrowAsked(from, ask, this.nowMs)
    } else {
      for (const answer of letter.effect.answers) server.settlement.borrowAnswered(from, answer, this.nowMs)
    }
    this.collect(server)
  }

  private cutOrMend(from: ModelServer, to: ModelServer): void {
    const link = `${from.place}>${to.place}`
    if (this.random(2) === 0) this.cut.add(link)
    else this.cut.delete(link)
    this.updateReachable()
  }

  private updateReachable(): void {
    for (const server of this.servers) {
      const reachable = this.servers.filter(
        ({ place }) => place !== server.place && !this.cut.has(`${server.place}>${place}`),
      )
      server.settlement.setReachable(new Set(reachable.map(({ replica }) => replica)))
    }
  }

  /** All links work and nobody crashes any more; how many rounds until nothing is left undecided? */
  heal(rounds: number): number {
    this.healed = true
    this.cut.clear()
    this.updateReachable()
    for (let round = 1; round <= rounds; round++) {
      this.nowMs += 100
      for (const server of this.servers) {
        server.settlement.tick(this.nowMs)
        while (server.settlement.run(this.nowMs, 100));
        this.collect(server)
        for (const { id } of server.settlement.parked()) this.decide(server, id)
        do this.flush(server, 9)
        while (!server.partition.own.isEmpty)
        for (const from of this.servers) {
          for (const { replica } of from.partition.replicas()) {
            if (replica === server.replica) continue
            for (;;) {
              const delta = from.partition.deltaSince(replica, server.partition.known(replica), 1000)
              if (!delta) break
              server.journal.push(delta)
              server.partition.merge(delta)
            }
          }
        }
      }
      while (this.letters.length > 0) this.deliver()
      if (this.isQuiet()) return round
    }
    return Number.POSITIVE_INFINITY
  }

  private decide(server: ModelServer, id: string): void {
    server.settlement.decide(id, this.random(2) === 0 ? 'compensate' : 'keep', this.nowMs)
    this.collect(server)
  }

  private isQuiet(): boolean {
    const [first, ...others] = this.servers.map(({ partition }) =>
      partition
        .replicas()
        .filter(({ known }) => known > 0)
        .map(({ replica, known }) => `${replica} ${known}`)
        .sort()
        .join(),
    )
    if (others.some((vector) => vector !== first)) return false
    return this.servers.every(
      ({ partition, held }) =>
        partition.own.isEmpty &&
        held.length === 0 &&
        [...this.states(partition)].every(([, { state }]) => state !== 'open' && state !== 'parked'),
    )
  }

  /** Every provisional withdrawal as a server sees it. */
  states(partition: Partition): Map<string, { state: ProvisionalState; amount: bigint }> {
    const states = new Map<string, { state: ProvisionalState; amount: bigint }>()
    const entries = partition.table.findNamespace(CellKind.provisional, STORAGE)?.entries ?? new Map()
    for (const [id, entry] of entries) {
      const [cell] = partition.table.cellsOf(entry)
      if (cell === undefined) continue
      const value = partition.table.objectValue(cell)
      const { state, amount } = provisionalFromValue(value, { id, storage: STORAGE, replica: '' })
      states.set(id, { state, amount: BigInt(amount) })
    }
    return states
  }

  /** What must hold once all is quiet. */
  checkHealed(): void {
    const [{ partition }] = this.servers as [ModelServer]
    const states = this.states(partition)
    let standing = this.ledger.backed
    let writtenOff = 0n
    for (const [id, { amount, outcomes }] of this.ledger.provisional) {
      const cell = states.get(id)
      assert.ok(cell, `acknowledged withdrawal ${id} is gone`)
      assert.equal(cell.amount, amount)
      assert.ok(['confirmed', 'compensated', 'kept'].includes(cell.state), `${id} is ${cell.state}`)
      assert.ok(outcomes.length <= 1, `${id} was settled ${outcomes}`)
      if (outcomes.length === 1) assert.equal(outcomes[0], cell.state)
      if (cell.state !== 'compensated') standing += amount
      this.counts[cell.state as 'confirmed' | 'compensated' | 'kept'] += 1
    }
    assert.equal(states.size, this.ledger.provisional.size)
    for (const server of this.servers) {
      const { table } = server.partition
      const total = BigInt(table.total(server.entry))
      assert.ok(total >= 0n, `quantity ${total}`)
      let rights = 0n
      for (const held of server.partition.rightsOf(server.entry).values()) {
        assert.ok(held >= 0, `rights ${held}`)
        rights += BigInt(held)
      }
      assert.equal(rights, total)
      writtenOff = total - (this.ledger.deposited - standing)
      if (this.counts.kept === 0) assert.equal(writtenOff, 0n, 'deposits − standing withdrawals = quantity')
      assert.ok(writtenOff >= 0n)
    }
    this.checkCompensations(partition, states)
  }

  /** The compensated totals are those of the compensated withdrawals, per server: backed ones never are. */
  private checkCompensations(partition: Partition, states: ReturnType<Model['states']>): void {
    const entry = partition.table.findNamespace(CellKind.counter, STORAGE)?.entries.get(ITEM)
    if (entry === undefined) return
    for (const cell of partition.table.cellsOf(entry)) {
      const replica = partition.replicaAt(partition.table.replicaOf(cell))
      const place = this.servers.findIndex((server) => server.replica === replica)
      let expected = 0n
      for (const [id, { server, amount }] of this.ledger.provisional) {
        if (server === place && states.get(id)?.state === 'compensated') expected += amount
      }
      assert.equal(
        BigInt(partition.table.counterValue(cell).compensated),
        expected,
        `compensated by ${replica}`,
      )
    }
  }
}
