import fc from 'fast-check'
import t from 'tap'
import { differingCells } from '../../src/audit/cell-scan.js'
import { CellSums, MAX_SUMS_REMEMBERED } from '../../src/audit/cell-sums.js'
import { Comparison } from '../../src/audit/comparison.js'
import { type AuditSources, ItemAuditor, judgeItem } from '../../src/audit/item-sums.js'
import {
  type AuditAnswer,
  type AuditAsk,
  answerFromTuple,
  answerToTuple,
  askFromTuple,
  askToTuple,
} from '../../src/audit/messages.js'
import { concludeAudit } from '../../src/audit/report.js'
import { AuditSessions, MAX_AUDIT_SESSIONS, SESSION_IDLE_MS } from '../../src/audit/sessions.js'
import { Survey } from '../../src/audit/survey.js'
import { CellKind } from '../../src/crdt/cell.js'
import { Partition } from '../../src/crdt/partition.js'
import { FrameError } from '../../src/sync/errors.js'
import { encodeMessage } from '../../src/wire/encode.js'
import { decodeTuple } from '../../src/wire/safe-cbor.js'
import type { WireTuple } from '../../src/wire/wire-value.js'

/** `HISTORIES=5000` for a long run. */
const RUNS = Number(process.env.HISTORIES ?? 200)
const SELF = 'here'

/** A server's half of the audit: its partitions, and writes and deltas between two of them without a network. */
class Side {
  readonly partition: Partition
  readonly sources: AuditSources

  constructor(
    readonly name: string,
    world = '',
  ) {
    this.partition = new Partition(world)
    this.partition.writeAs(`${name}@1`)
    this.sources = {
      partitions: new Map([[world, this.partition]]),
      unnumbered: () => [],
      provisional: () => 0,
    }
  }

  entry(item: number): number {
    const { table } = this.partition
    return table.entry(table.namespace(CellKind.counter, 'vault'), `item_${item}`)
  }

  deposit(item: number): void {
    this.partition.own.deposit(this.entry(item), 1)
  }

  flush(): void {
    const flush = this.partition.prepareFlush(200)
    if (flush) this.partition.completeFlush(flush)
  }

  /** Takes a bit of what the other has and it lacks. */
  pull(other: Side, bytes = 100): void {
    for (const { replica } of other.partition.replicas()) {
      if (replica === `${this.name}@1`) continue
      const delta = other.partition.deltaSince(replica, this.partition.known(replica), bytes)
      if (delta) this.partition.merge(delta)
    }
  }

  /** Changes a durable cell behind the product's back, so that quantities still fit. */
  tamper(item: number): boolean {
    const { table } = this.partition
    const entry = this.entry(item)
    const [cell] = table.cellsOf(entry)
    if (cell === undefined) return false
    const value = table.counterValue(cell)
    table.setCounter(cell, table.numberOf(cell), { ...value, deposited: Number(value.deposited) + 1 })
    table.addToTotal(entry, 1)
    if (table.replicaOf(cell) !== this.partition.ownReplica.index) table.addRightsElsewhere(entry, 1)
    return true
  }
}

/** Over the bytes, as a link carries them. */
function carried<Message>(
  message: Message,
  toTuple: (message: Message) => WireTuple,
  fromTuple: (tuple: WireTuple) => Message | undefined,
): Message {
  return fromTuple(decodeTuple(encodeMessage(toTuple(message))))!
}

/** An audit between two sides, with a step for whoever wants to move on meanwhile. */
function audit(own: Side, other: Side, turn: () => void = () => undefined, turns = 400) {
  const survey = new Survey(own.sources)
  const sessions = new AuditSessions(other.sources)
  const comparison = new Comparison(other.name, 7, survey)
  let nowMs = 0
  for (let count = 0; count < turns && !(survey.isComplete && comparison.isDone); count++) {
    nowMs += 50
    turn()
    survey.work(3)
    sessions.work(2)
    comparison.advance()
    const ask = comparison.next()
    if (!ask) continue
    for (const answer of sessions.ask(SELF, carried<AuditAsk>(ask, askToTuple, askFromTuple), nowMs))
      comparison.take(carried<AuditAnswer>(answer, answerToTuple, answerFromTuple))
  }
  const findings = comparison.findings(true)
  const verdict = survey.verdict()
  survey.close()
  sessions.close()
  return { findings, verdict, outcome: concludeAudit(verdict, [findings]) }
}

const move = fc.record({
  who: fc.nat(1),
  do: fc.constantFrom('deposit', 'deposit', 'deposit', 'flush', 'pull', 'pull'),
  item: fc.nat(12),
})
type Move = typeof move extends fc.Arbitrary<infer T> ? T : never

function play(sides: readonly [Side, Side], { who, do: what, item }: Move): void {
  const side = sides[who]!
  if (what === 'deposit') side.deposit(item)
  else if (what === 'flush') side.flush()
  else side.pull(sides[1 - who]!)
}

t.test('sums taken in slices while cells change are those of the cells in the end', async (t) => {
  fc.assert(
    fc.property(fc.array(move, { maxLength: 80 }), fc.nat(40), (moves, before) => {
      const sides: [Side, Side] = [new Side('a'), new Side('b')]
      for (const each of moves.slice(0, before)) play(sides, each)
      const sums = sides.map(({ partition }) => new CellSums(partition))
      for (const each of moves.slice(before)) {
        play(sides, each)
        for (const sum of sums) sum.walk(1)
      }
      for (const sum of sums) while (!sum.isComplete) sum.walk(5)
      for (const each of moves) play(sides, each)
      for (const [position, { partition }] of sides.entries()) {
        for (const { replica, known, sum } of sums[position]!.current()) {
          const state = partition.replica(replica)!
          t.equal(known, state.known)
          if (sum !== state.checksum) throw new Error(`${sum} is not ${state.checksum}`)
          const { sums: buckets } = sums[position]!.buckets(replica)!
          if (buckets.reduce((total, bucket) => (total + bucket) | 0, 0) !== sum) throw new Error('buckets')
          if (sums[position]!.sumAt(replica, known) !== sum) throw new Error('history')
        }
        t.same(sums[position]!.altered(), [])
      }
    }),
    { numRuns: RUNS },
  )
})

t.test('what is remembered of a busy replica is bounded', async (t) => {
  const side = new Side('a')
  const sums = new CellSums(side.partition)
  sums.walk(10)
  for (let write = 1; write <= MAX_SUMS_REMEMBERED + 5; write++) {
    side.deposit(1)
    side.flush()
  }
  t.equal(sums.sumAt('a@1', 5), undefined)
  t.type(sums.sumAt('a@1', 6), 'number')
  sums.close()
  side.deposit(1)
  side.flush()
  t.equal(sums.sumAt('a@1', MAX_SUMS_REMEMBERED + 6), undefined, 'closed, it follows no more')
})

t.test(
  'servers that move all the time are never said to differ, and are compared once news gets through',
  (t) => {
    fc.assert(
      fc.property(fc.array(move, { maxLength: 120 }), fc.nat(40), (moves, before) => {
        const sides: [Side, Side] = [new Side('a'), new Side('b')]
        for (const each of moves.slice(0, before)) play(sides, each)
        const rest = moves.slice(before)
        let turn = 0
        const { findings, verdict, outcome } = audit(sides[0], sides[1], () => {
          const next = rest[turn++]
          if (next) return play(sides, next)
          for (const [who, side] of sides.entries()) {
            side.flush()
            side.pull(sides[1 - who]!)
          }
        })
        if (outcome !== 'balanced') throw new Error(JSON.stringify({ outcome, findings }))
        if (verdict.wrongCount > 0) throw new Error('a false alarm')
      }),
      { numRuns: RUNS },
    )
    t.end()
  },
)

t.test('one changed cell is found on either side, with its item, also while others move', (t) => {
  fc.assert(
    fc.property(
      fc.array(move, { minLength: 10, maxLength: 60 }),
      fc.nat(1),
      fc.nat(12),
      fc.boolean(),
      (moves, who, item, busy) => {
        const sides: [Side, Side] = [new Side('a'), new Side('b')]
        for (const each of moves) play(sides, each)
        for (const side of [...sides, ...sides]) side.flush()
        while (sides[0].partition.known('b@1') < sides[1].partition.known('b@1')) sides[0].pull(sides[1])
        while (sides[1].partition.known('a@1') < sides[0].partition.known('a@1')) sides[1].pull(sides[0])
        if (!sides[who]!.tamper(item)) return
        let written = 0
        const { findings, verdict, outcome } = audit(sides[0], sides[1], () => {
          // Elsewhere than in the changed item, and at rest at last.
          if (busy && written++ < 30) sides[0].deposit(13 + (written % 3))
          sides[0].flush()
          sides[1].pull(sides[0])
        })
        if (outcome !== 'mismatch' || findings.outcome !== 'differs')
          throw new Error(JSON.stringify(findings))
        const [{ cells } = { cells: [] }] = findings.differences
        if (cells.length !== 1 || cells[0]!.key !== `item_${item}`) throw new Error(JSON.stringify(findings))
        const books = who === 0 ? verdict : findings.verdict!
        if (books.altered.length !== 1) throw new Error('its own checksum tells whose cell it is')
      },
    ),
    { numRuns: RUNS },
  )
  t.end()
})

t.test(
  'a server that falls behind for good is undecided; a world of one alone is nobody else’s',
  async (t) => {
    const [a, b] = [new Side('a'), new Side('b')]
    a.deposit(1)
    a.flush()
    b.deposit(1)
    b.flush()
    b.pull(a)
    const behind = audit(a, b)
    t.match(behind, {
      outcome: 'incomplete',
      findings: { outcome: 'undecided', undecided: [{ replica: 'b@1' }] },
    })
    const elsewhere = audit(a, new Side('c', 'world:nether'))
    t.match(elsewhere, { outcome: 'balanced', findings: { outcome: 'equal' } })
  },
)

t.test('the books of one server', async (t) => {
  const side = new Side('a')
  for (let item = 0; item < 50; item++) side.deposit(item)
  side.flush()
  side.deposit(3)
  const look = (item: number) => new ItemAuditor(side.sources, side.partition).look(side.entry(item))
  t.match(look(3), { deposited: 1n, underWay: 1n, quantity: 2n, rights: 2n })
  t.equal(judgeItem(look(3)), 'fits', 'writes under way count')
  const prepared = side.partition.prepareFlush(100)!
  t.equal(judgeItem(look(3)), 'fits', 'those on their way to the disk as well')
  side.partition.completeFlush(prepared)
  t.match(look(3), { deposited: 2n, underWay: 0n })

  side.partition.table.addToTotal(side.entry(7), 1)
  side.partition.own.withdraw(side.entry(9), 5)
  const survey = new Survey(side.sources)
  while (survey.work(7));
  const verdict = survey.verdict()
  t.match(verdict, { items: 50, wrongCount: 1, wrong: [{ item: 'item_7', quantity: 2n }], altered: [] })
  t.match(verdict, { overdrawnCount: 1, overdrawn: [{ item: 'item_9', quantity: -4n }] })
  side.partition.own.deposit(side.entry(9), 4)
  t.match(survey.verdict(), { overdrawnCount: 0, overdrawn: [] }, 'news has come')
  const equal = { server: 'b', outcome: 'equal', differences: [], undecided: [], verdict } as const
  t.equal(
    concludeAudit({ ...verdict, wrongCount: 0 }, [{ ...equal, verdict: { ...verdict, wrongCount: 0 } }]),
    'mismatch',
  )
  t.equal(concludeAudit({ ...verdict, wrongCount: 0 }, [{ ...equal, outcome: 'unreachable' }]), 'mismatch')
  t.equal(
    concludeAudit({ ...verdict, wrongCount: 0 }, [{ ...equal, outcome: 'unreachable', verdict: undefined }]),
    'incomplete',
    'an overdraw may be news that a server out of reach has',
  )
  survey.close()
})

t.test(
  'sessions are bounded, end with their asker, and do not answer faster than they are worked off',
  async (t) => {
    const side = new Side('a')
    side.deposit(1)
    side.flush()
    const sessions = new AuditSessions(side.sources)
    for (let asker = 0; asker < MAX_AUDIT_SESSIONS; asker++)
      t.match(sessions.ask(`s${asker}`, { id: 1, type: 'sums' }, 0), [{ type: 'working' }])
    t.same(sessions.ask('late', { id: 1, type: 'sums' }, 0), [{ id: 1, type: 'busy' }])
    while (sessions.work(10));
    t.same(sessions.ask('s0', { id: 1, type: 'verdict' }, 1), [], 'too soon')
    t.match(sessions.ask('s0', { id: 1, type: 'verdict' }, 100), [{ type: 'verdict', verdict: { items: 1 } }])
    t.same(sessions.ask('s0', { id: 2, type: 'verdict' }, 200), [{ id: 2, type: 'busy' }], 'one by one')
    t.match(
      sessions.ask('s0', { id: 2, type: 'verdict' }, 1_200),
      [{ type: 'working' }],
      'a new audit looks anew',
    )
    sessions.ask('s0', { id: 1, type: 'end' }, 1_300)
    t.equal(sessions.size, MAX_AUDIT_SESSIONS, 'the end of an older one ends nothing')
    sessions.ask('s0', { id: 2, type: 'end' }, 1_300)
    t.match(sessions.ask('late', { id: 1, type: 'sums' }, 1_300), [{ type: 'working' }])
    sessions.expire(1_300 + SESSION_IDLE_MS)
    t.equal(sessions.size, 1)
    sessions.expire(1_301 + SESSION_IDLE_MS)
    t.equal(sessions.size, 0)
  },
)

t.test('cells differ for certain only when nothing that is under way explains it', async (t) => {
  const cell = (key: string, number: number, hash = 1) => ({ kind: 0, namespace: 'vault', key, number, hash })
  const list = (known: number, cells: ReturnType<typeof cell>[], isTruncated = false) => ({
    known,
    cells,
    isTruncated,
  })
  const keys = (...args: Parameters<typeof differingCells>) => differingCells(...args).map(({ key }) => key)
  t.same(keys(list(5, [cell('x', 5)]), list(5, [cell('x', 5, 2)])), ['x'], 'one write, told differently')
  t.same(keys(list(9, [cell('x', 9)]), list(5, [cell('x', 5)])), [], 'the later write has not arrived there')
  t.same(keys(list(9, [cell('x', 9)]), list(9, [cell('x', 5)])), ['x'], 'it should have')
  t.same(keys(list(9, [cell('x', 5)]), list(9, [])), ['x'])
  t.same(keys(list(9, []), list(9, [cell('x', 5)])), ['x'])
  t.same(keys(list(9, [cell('x', 5)]), list(9, [], true)), [], 'the list is not whole')
  t.same(keys(list(4, []), list(9, [cell('x', 5)])), [])
})

t.test(
  'messages: what is not well-formed is refused, what is of a later version is not understood',
  async (t) => {
    t.equal(askFromTuple([19, 1, 99]), undefined)
    t.equal(answerFromTuple([20, 1, 99]), undefined)
    for (const tuple of [
      [19],
      [19, -1, 0],
      [19, 1, 2, '', 'x'],
      [19, 1, 3, '', 'a@1', [256], 0],
      [19, 1, 3, '', 'a@1', [1, 2, 3], 0],
    ])
      t.throws(() => askFromTuple(tuple as WireTuple), FrameError)
    for (const tuple of [
      [20, 1, 0, 1],
      [20, 1, 2, [['', [['a@1', 1, 'x']]]], false],
      [20, 1, 3, 1, 1, [['', 'vault', 'x', '1e5', '0', '0', '0', '0', '0', '0']], 0, [], []],
      [20, 1, 4, '', 'a@1', 5, new Uint8Array(3)],
      [20, 1, 5, '', 'a@1', 5, false, 0, [[0, 'vault', 'x', 1.5, 1]], false],
    ])
      t.throws(() => answerFromTuple(tuple as WireTuple), FrameError)
    const comparison = new Comparison('b', 7, new Survey(new Side('a').sources))
    comparison.take({ id: 8, type: 'verdict', verdict: undefined as never })
    comparison.take({
      id: 7,
      type: 'cells',
      partition: '',
      replica: 'a@1',
      known: 1,
      isTruncated: false,
      from: 0,
      cells: [],
      more: false,
    })
    comparison.take({
      id: 7,
      type: 'buckets',
      partition: '',
      replica: 'a@1',
      known: 1,
      sums: new Int32Array(256),
    })
    t.match(comparison.next(), { type: 'sums' }, 'answers that nobody asked for change nothing')
  },
)
