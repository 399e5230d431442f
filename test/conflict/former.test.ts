import t from 'tap'
import { Settlement } from '../../src/conflict/settlement.js'
import type { Standing } from '../../src/conflict/standing.js'
import { CellKind } from '../../src/crdt/cell.js'
import { Partition } from '../../src/crdt/partition.js'

const PLACE = { storage: 'vault', item: 'minecraft:diamond' }
const NOW = 1_000_000

/** A server in one of its incarnations, and what it believes. */
class Incarnation {
  readonly partition: Partition
  readonly settlement: Settlement
  readonly standing = { certain: true, knowsFormer: true, superseded: new Set<string>() }

  constructor(readonly replica: string) {
    const partition: Partition = new Partition('p', (entry) => this.settlement?.changed(entry))
    partition.writeAs(replica)
    this.partition = partition
    const { standing } = this
    const asked: Standing = {
      isCertain: () => standing.certain,
      knowsFormer: () => standing.knowsFormer,
      isSuperseded: (other) => standing.superseded.has(other),
    }
    this.settlement = new Settlement(partition, undefined, asked)
  }

  get entry(): number {
    const { table } = this.partition
    return table.entry(table.namespace(CellKind.counter, PLACE.storage), PLACE.item)
  }

  get total(): number | bigint {
    return this.partition.table.total(this.entry)
  }

  rightsOf(replica: string): number | bigint {
    return this.partition.rightsOf(this.entry).get(replica) ?? 0
  }

  deposit(amount: number): this {
    this.partition.own.deposit(this.entry, amount)
    return this.flush()
  }

  take(amount: number, id: string): string {
    return this.settlement.withdraw({ ...PLACE, amount, id, mode: 'optimistic', untilMs: 0 }, NOW).type
  }

  flush(): this {
    for (;;) {
      const flush = this.partition.prepareFlush(1000)
      if (!flush) return this
      this.partition.completeFlush(flush)
    }
  }

  hear(...others: Incarnation[]): this {
    for (const { partition } of others) {
      for (const { replica } of partition.replicas()) {
        const delta = partition.deltaSince(replica, this.partition.known(replica), 1e6)
        if (delta && replica !== this.replica) this.partition.merge(delta)
      }
    }
    return this
  }

  run(nowMs = NOW): { type: string; state: string | undefined }[] {
    this.settlement.tick(nowMs)
    while (this.settlement.run(nowMs, 10));
    return this.settlement.takeEffects().map((effect) => ({
      type: effect.type,
      state: effect.type === 'settled' ? `${effect.withdrawal.id} ${effect.withdrawal.state}` : undefined,
    }))
  }

  settled(): string[] {
    return this.run().flatMap(({ state }) => state ?? [])
  }

  state(id: string): string | undefined {
    return this.settlement.withdrawal(PLACE.storage, id)?.state
  }
}

/** Two servers took the same five; the first one's server is another incarnation now. */
function contended(firstId: string, secondId: string) {
  const [former, other, source] = [
    new Incarnation('a@1'),
    new Incarnation('b@1'),
    new Incarnation('c@1').deposit(5),
  ]
  former.hear(source)
  other.hear(source)
  t.equal(former.take(5, firstId), 'provisional')
  t.equal(other.take(5, secondId), 'provisional')
  former.flush()
  other.flush().hear(former)
  const present = new Incarnation('a@2').hear(former, other, source)
  return { former, other, source, present }
}

t.test('a debt of a former incarnation is covered by rights of the present one', async (t) => {
  const { former, source } = contended('id-1', 'id-2')
  const present = new Incarnation('a@2').hear(former, source)
  present.standing.knowsFormer = false
  t.same(present.settled(), [], 'not before all that it wrote is known')
  present.standing.knowsFormer = true
  present.settlement.setReachable(new Set(['c@1']))
  t.same(
    present.run().map(({ type }) => type),
    ['borrow'],
    'it borrows for it',
  )
  source.settlement.borrowAsked('a@2', { ...PLACE, target: 5, purpose: 'debt' }, NOW)
  present.hear(source.flush())
  t.same(present.settled(), ['id-1 confirmed'])
  present.flush()
  t.equal(present.rightsOf('a@1'), 0)
  t.equal(present.rightsOf('a@2'), 0)
  t.equal(present.total, 0)
  t.equal(source.hear(present).state('id-1'), 'confirmed', 'the others see it closed')
})

t.test('a former loser is compensated by the present incarnation, and nobody else, once', async (t) => {
  const { other, present, source } = contended('id-2', 'id-1')
  t.same(other.settled(), [], 'not by the winner')
  t.same(present.settled(), ['id-2 compensated'])
  t.same(present.settlement.unacknowledged(), [], 'told when it is durable')
  present.flush()
  t.same(
    present.settlement.unacknowledged().map(({ id }) => id),
    ['id-2'],
  )
  t.equal(present.rightsOf('a@1'), 0, 'the debt is gone')
  t.equal(present.total, 0)
  const next = new Incarnation('a@3').hear(present, other, source)
  t.same(next.settled(), ['id-2 compensated'], 'the incarnation after that finds it closed, and tells of it')
  t.equal(next.total, 0)
  t.same(
    next.settlement.unacknowledged().map(({ id }) => id),
    ['id-2'],
    'and tells of it',
  )
  t.equal(next.settlement.acknowledge('id-2', NOW), true)
  next.flush()
  t.same(new Incarnation('a@4').hear(next, present).settlement.unacknowledged(), [])
  source.hear(next)
  other.hear(next)
  source.settlement.borrowAsked('b@1', { ...PLACE, target: 5, purpose: 'debt' }, NOW)
  t.same(other.hear(source.flush()).settled(), ['id-1 confirmed'])
})

t.test(
  'what comes in of a former incarnation is told: it had compensated, and nobody may have heard',
  async (t) => {
    const { former, other, source } = contended('id-2', 'id-1')
    former.hear(other)
    t.same(former.settled(), ['id-2 compensated'])
    former.flush()
    const present = new Incarnation('a@2')
    present.hear(former, other, source)
    t.same(present.settled(), ['id-2 compensated'])
    t.equal(present.total, 0)
  },
)

t.test(
  'an acknowledgement that comes back from peers is no news; the compensation before it may be',
  async (t) => {
    const { former, other, source } = contended('id-2', 'id-1')
    const openBackup = new Incarnation('a@2').hear(former, other, source)
    former.hear(other)
    t.same(former.settled(), ['id-2 compensated'])
    const compensatedBackup = new Incarnation('a@3').hear(former.flush(), other, source)
    t.same(compensatedBackup.settled(), ['id-2 compensated'])
    t.equal(former.settlement.acknowledge('id-2', NOW), true)
    former.flush()
    t.same(compensatedBackup.hear(former).settled(), [], 'it was told to be compensated, and it is')
    t.same(compensatedBackup.settlement.unacknowledged(), [])
    openBackup.standing.knowsFormer = false
    t.same(openBackup.hear(former).settled(), ['id-2 acknowledged'], 'this one still waited for the outcome')
    t.same(openBackup.settlement.unacknowledged(), [])
  },
)

t.test('a server that may have lost writes spends, gives and settles nothing', async (t) => {
  const server = new Incarnation('a@1').deposit(10)
  server.standing.certain = false
  t.equal(server.settlement.tryWithdraw(server.entry, 1), false)
  t.equal(server.settlement.spendable(server.entry), 0)
  t.equal(server.take(3, 'id-1'), 'provisional', 'though the rights seem to be there')
  server.settlement.borrowAsked('b@1', { ...PLACE, target: 5, purpose: 'debt' }, NOW)
  server.flush()
  t.equal(server.rightsOf('b@1'), 0)
  t.same(server.settled(), [])
  server.standing.certain = true
  t.same(server.settled(), ['id-1 confirmed'])
  t.equal(server.settlement.tryWithdraw(server.entry, 7), true)
  t.equal(server.settlement.decide('id-1', 'keep', NOW), 'unknown')
})

t.test('rights that a former incarnation left unspent cannot be had', async (t) => {
  const gone = new Incarnation('a@1').deposit(10)
  const taker = new Incarnation('b@1').hear(gone)
  t.equal(taker.take(4, 'id-1'), 'provisional')
  t.same(taker.settled(), [], 'as long as its server may yet give them')
  taker.standing.superseded.add('a@1')
  t.same(taker.settled(), ['id-1 compensated'])
  t.equal(taker.total, 10)
  t.same(
    taker.settlement.withdraw({ ...PLACE, amount: 1, id: 'id-2', mode: 'optimistic', untilMs: 0 }, NOW),
    {
      type: 'insufficient-quantity',
      visible: 0,
    },
  )
})
