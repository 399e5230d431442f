import { readFile, writeFile } from 'node:fs/promises'
import fc from 'fast-check'
import t from 'tap'
import { type AuditRow, judgeAudits } from '../../../src/cli/demo/audit-verdict.js'
import { CARGOES, chestOf } from '../../../src/cli/demo/chests.js'
import { BLOCKS, ENTITIES, LOOT_DATA_SOURCE, stackSizeOf } from '../../../src/cli/demo/loot.js'
import { countMoved } from '../../../src/cli/demo/moved-items.js'
import {
  type LoggedOperation,
  OperationLog,
  type Outcome,
  parseOperationLog,
} from '../../../src/cli/demo/operation-log.js'
import { OwnShare, type PlannedOperation, Players, QUARRY } from '../../../src/cli/demo/players.js'
import { isGood, printReport, toJson } from '../../../src/cli/demo/report.js'
import { parseStructureLog, StructureLog } from '../../../src/cli/demo/structure-log.js'
import { judgeStructure } from '../../../src/cli/demo/structure-verdict.js'
import { itemKey, judge, type Quantities } from '../../../src/cli/demo/verdict.js'
import { countWithdrawals } from '../../../src/cli/demo/withdrawal-counts.js'
import { createRealEnvironment } from '../../../src/environment/real-environment.js'
import { SeededRandom } from '../../../src/simulation/kernel/random.js'
import { temporaryDirectory } from '../harness.js'

function operation(
  kind: LoggedOperation['kind'],
  amount: number,
  outcome: Outcome,
  item = 'a:b',
): LoggedOperation {
  return { id: 1, kind, storage: 's', item, amount, outcome }
}

function quantities(amount: bigint, item = 'a:b'): Quantities {
  return new Map(amount === 0n ? [] : [[itemKey('s', item), amount]])
}

const ANCHOR = '01a209e3-d846-7044-9fcf-193925a39559'
const OTHER = '01a209e3-d846-7044-9fcf-193925a39560'
const LINK = '01a209e3-d846-7044-9fcf-193925a39561'

const deposit = operation('deposit', 10, 'acknowledged')

t.test('acknowledged operations are binding', async (t) => {
  const logs = [[deposit, operation('withdraw', 4, 'acknowledged')], [operation('deposit', 1, 'refused')]]
  t.match(judge(logs, [quantities(6n), quantities(6n)]), { lost: 0n, duplicated: 0n, wrong: [] })
  t.match(judge(logs, [quantities(5n), quantities(5n)]), { lost: 1n, duplicated: 0n })
  t.match(judge(logs, [quantities(7n), quantities(7n)]), { lost: 0n, duplicated: 1n })
  t.match(
    judge(logs, [quantities(6n), quantities(0n)]),
    { lost: 6n, duplicated: 0n },
    'one server that has less is enough',
  )
  t.match(judge(logs, [quantities(5n), quantities(9n)]), { lost: 1n, duplicated: 3n })
  t.match(
    judge([[]], [quantities(3n)]),
    { duplicated: 3n, wrong: [/a:b: servers show 3, acknowledged 0/] },
    'out of nothing',
  )
  t.match(judge([[deposit]], [quantities(0n)]), { lost: 10n }, 'vanished')
})

t.test('an unknown operation may have happened or not, and nothing in between', async (t) => {
  const logs = [[deposit, operation('withdraw', 4, 'unknown'), operation('deposit', 100, 'unknown')]]
  for (const possible of [10n, 6n, 110n, 106n])
    t.match(judge(logs, [quantities(possible)]), { lost: 0n, duplicated: 0n })
  t.match(judge(logs, [quantities(5n)]), { lost: 1n, duplicated: 0n })
  t.match(judge(logs, [quantities(50n)]), { lost: 0n, duplicated: 40n })
  t.match(judge(logs, [quantities(100n)]), { lost: 6n, duplicated: 0n })
  t.match(judge(logs, [quantities(111n)]), { duplicated: 1n })
  t.strictSame(judge(logs, [quantities(106n)]).unknown, { happened: 2, didNot: 0, unclear: 0 })
  t.strictSame(judge(logs, [quantities(6n)]).unknown, { happened: 1, didNot: 1, unclear: 0 })
  const equal = [[operation('deposit', 2, 'unknown'), operation('withdraw', 2, 'unknown')]]
  t.strictSame(judge(equal, [quantities(0n)]).unknown, { happened: 0, didNot: 0, unclear: 2 }, 'both or none')
})

t.test('many unknown operations on one item are a range', async (t) => {
  const logs = [[deposit, ...Array.from({ length: 40 }, () => operation('deposit', 2, 'unknown'))]]
  t.match(judge(logs, [quantities(10n)]), { lost: 0n, duplicated: 0n })
  t.match(judge(logs, [quantities(90n)]), { lost: 0n, duplicated: 0n })
  t.match(judge(logs, [quantities(92n)]), { duplicated: 2n })
  t.match(judge(logs, [quantities(9n)]), { lost: 1n })
})

t.test('what really happened is always in order, and any change of it beyond doubt is seen', async () => {
  const entry = fc.record({
    kind: fc.constantFrom<LoggedOperation['kind'][]>('deposit', 'withdraw'),
    amount: fc.integer({ min: 1, max: 9 }),
    outcome: fc.constantFrom<Outcome[]>('acknowledged', 'refused', 'unknown'),
    happened: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 10 }), fc.integer({ min: 1, max: 500 }), (entries, change) => {
      const log = entries.map(({ kind, amount, outcome }) => operation(kind, amount, outcome))
      let truth = 1000n
      for (const { kind, amount, outcome, happened } of entries) {
        if (outcome === 'acknowledged' || (outcome === 'unknown' && happened))
          truth += kind === 'deposit' ? BigInt(amount) : BigInt(-amount)
      }
      const logs = [[operation('deposit', 1000, 'acknowledged'), ...log]]
      const honest = judge(logs, [quantities(truth)])
      if (honest.lost !== 0n || honest.duplicated !== 0n) return false
      if (entries.some(({ outcome }) => outcome === 'unknown')) return true
      return (
        judge(logs, [quantities(truth - BigInt(change))]).lost === BigInt(change) &&
        judge(logs, [quantities(truth + BigInt(change))]).duplicated === BigInt(change)
      )
    }),
  )
})

t.test(
  'chests are one account for each item: a move changes nothing, a lost or doubled item is seen',
  async (t) => {
    const [one, two, three] = [chestOf('lobby-1', 1), chestOf('lobby-1', 2), chestOf('lobby-2', 1)]
    const put = (storage: string, amount: number, outcome: Outcome = 'acknowledged', item = 'a:b') => ({
      ...operation('deposit', amount, outcome, item),
      storage,
    })
    const shown = (...rows: [storage: string, quantity: bigint, item?: string][]): Quantities =>
      new Map(rows.map(([storage, quantity, item = 'a:b']) => [itemKey(storage, item), quantity]))
    const logs = [[put(one, 64), put(one, 10, 'acknowledged', 'c:d')], [put(three, 64)]]
    const other = [one, 10n, 'c:d'] as [string, bigint, string]
    const fine = { lost: 0n, duplicated: 0n, wrong: [] }
    const moves: [Quantities, bigint][] = [
      [shown([one, 64n], [three, 64n], other), 0n],
      [shown([one, 20n], [two, 44n], [three, 64n], other), 44n],
      [shown([two, 128n], other), 128n],
      [shown([two, 70n], [three, 58n], other), 70n],
      // What is taken from the one and what came to it cannot be told apart: at least so much.
      [shown([one, 60n], [three, 68n], other), 4n],
    ]
    for (const [finals, moved] of moves) {
      t.match(judge(logs, [finals, finals]), fine)
      t.strictSame(countMoved(logs, [finals, finals]), { put: 138n, moved })
    }
    const halfMoved = shown([one, 20n], [two, 43n], [three, 64n], other)
    t.match(judge(logs, [halfMoved]), { lost: 1n, duplicated: 0n, wrong: [/^all-chests a:b/] })
    const doubled = shown([one, 64n], [two, 44n], [three, 64n], other)
    t.match(judge(logs, [doubled]), { lost: 0n, duplicated: 44n }, 'put there, and not taken here')
    t.match(judge(logs, [moves[1]![0], halfMoved]), { lost: 1n, duplicated: 0n }, 'on one server is enough')
    const exchanged = shown([one, 64n], [three, 54n], [one, 20n, 'c:d'])
    t.match(judge(logs, [exchanged]), { lost: 10n, duplicated: 10n }, 'of another kind')
    const astray = shown([one, 63n], [three, 64n], ['quarry', 1n], other)
    t.match(judge(logs, [astray]), { lost: 1n, duplicated: 1n }, 'what players hold is not in the account')
    t.match(countMoved(logs, [moves[2]![0], moves[1]![0]]), { moved: 44n }, 'the server that shows fewest')

    // A kill left one without an answer: the sum says whether it has happened, and it is moved in no case by itself.
    const doubtful = [[put(one, 64), put(two, 5, 'unknown'), put(two, 7, 'refused')]]
    t.match(judge(doubtful, [shown([two, 69n])]), {
      ...fine,
      unknown: { happened: 1, didNot: 0, unclear: 0 },
    })
    t.match(judge(doubtful, [shown([two, 64n])]), {
      ...fine,
      unknown: { happened: 0, didNot: 1, unclear: 0 },
    })
    t.match(judge(doubtful, [shown([two, 66n])]), { lost: 0n, duplicated: 2n })
    t.strictSame(countMoved(doubtful, [shown([one, 64n], [two, 5n])]), { put: 64n, moved: 0n })
    t.strictSame(countMoved(doubtful, [shown([two, 64n])]), { put: 64n, moved: 59n })
    t.strictSame(countMoved([[deposit]], [quantities(20n)]), { put: 0n, moved: 0n }, 'not in a chest')
    const dropped = new Set(BLOCKS.flatMap(({ drops }) => drops.map(({ item }) => item)))
    t.ok(CARGOES.every((item) => dropped.has(item) && stackSizeOf(item) === 64))
  },
)

t.test(
  'the log of operations tells acknowledged from unknown, also after a death in the middle of a line',
  async (t) => {
    const { disk } = createRealEnvironment()
    const path = `${await temporaryDirectory(t)}/operations.log`
    const log = await OperationLog.open(disk, path, 0)
    const plan = { kind: 'deposit', storage: 'quarry', item: 'minecraft:stone', amount: 3 } as const
    t.strictSame(await log.intend([plan, plan, plan]), [1, 2, 3])
    await log.settle([{ id: 1 }, { id: 2, refusal: 'INSUFFICIENT_QUANTITY' }])
    await log.close()
    const whole = await readFile(path, 'utf8')
    t.strictSame(
      parseOperationLog(whole).map(({ outcome }) => outcome),
      ['acknowledged', 'refused', 'unknown'],
    )
    t.match(parseOperationLog(whole)[0], plan)
    for (let length = 0; length < whole.length; length++) {
      const cut = parseOperationLog(whole.slice(0, length))
      // Less may be known after a cut, but nothing that is not so.
      for (const { id, outcome } of cut)
        t.ok(outcome === 'unknown' || outcome === parseOperationLog(whole)[id - 1]!.outcome)
      for (const { amount } of cut) t.equal(amount, 3)
    }
    await writeFile(path, `${whole}+ `)
    const again = await OperationLog.open(disk, path, 3)
    t.strictSame(await again.intend([plan]), [4])
    await again.close()
    t.equal(parseOperationLog(await readFile(path, 'utf8')).length, 4, 'the torn line swallows no other')
  },
)

t.test('every acknowledged anchor and transfer must be on every server', async (t) => {
  const { disk } = createRealEnvironment()
  const path = `${await temporaryDirectory(t)}/structure.log`
  const log = await StructureLog.open(disk, path)
  await log.intend('anchor', ANCHOR)
  await log.acknowledge('anchor', ANCHOR)
  await log.intend('anchor', OTHER)
  await log.refuse('anchor', OTHER, 'NO_QUORUM')
  await log.intend('transfer', LINK)
  const text = await readFile(path, 'utf8')
  const outcomes = (from: string) => parseStructureLog(from).map(({ outcome }) => outcome)
  t.strictSame(outcomes(text), ['acknowledged', 'refused', 'unknown'])
  t.strictSame(outcomes(`${text}? anchor ${OTHER}\n`), ['acknowledged', 'unknown', 'unknown'], 'asked again')
  for (let length = 0; length < text.length; length++) {
    const cut = outcomes(text.slice(0, length))
    t.ok(cut.every((outcome, position) => outcome === 'unknown' || outcome === outcomes(text)[position]))
  }
  const logs = [parseStructureLog(text)]
  const all = { anchors: [ANCHOR], transfers: [LINK] }
  t.strictSame(judgeStructure(logs, [all, all]), {
    anchors: 1,
    transfers: 1,
    acknowledged: 1,
    lost: 0,
    unknown: { happened: 1, didNot: 0 },
  })
  const without = { anchors: [], transfers: [] }
  t.match(judgeStructure(logs, [all, without]), { lost: 1, anchors: 0, unknown: { happened: 0, didNot: 1 } })
  const torn = await StructureLog.open(disk, path)
  await torn.acknowledge('transfer', LINK)
  t.strictSame(outcomes(await readFile(path, 'utf8')), ['acknowledged', 'refused', 'acknowledged'])
})

t.test('provisional withdrawals count as what became of them', async (t) => {
  const id = (last: number) => ANCHOR.slice(0, -1) + last
  const text = [
    '? 1 withdraw s a:b 1\n+ 1\n',
    `? 2 withdraw s a:b 2\n~ 2 ${id(2)}\n+ 2\n`,
    `? 3 withdraw s a:b 4\n~ 3 ${id(3)}\n- 3 COMPENSATED\n`,
    `? 4 withdraw s a:b 8\n~ 4 ${id(4)}\n`,
    '? 5 withdraw s a:b 16\n- 5 INSUFFICIENT_QUANTITY\n',
    '? 6 deposit s a:b 100\n+ 6\n',
  ].join('')
  const log = parseOperationLog(text)
  t.strictSame(countWithdrawals([log]), { backed: 1, provisional: 3, confirmed: 1, compensated: 1 })
  t.strictSame(
    log.map(({ outcome }) => outcome),
    ['acknowledged', 'acknowledged', 'refused', 'unknown', 'refused', 'acknowledged'],
  )
  t.match(judge([log], [new Map([['s a:b', 97n]])]), { lost: 0n, duplicated: 0n })
  t.match(judge([log], [new Map([['s a:b', 93n]])]), { lost: 4n }, 'what was compensated is back')
})

t.test('an audit is balanced when every sum fits, on every server', async (t) => {
  const row: AuditRow = ['s a:b', '10', '5', '2', '0', '7', '7']
  t.match(judgeAudits([[row], [row]]), { isBalanced: true, overdrawn: 0, wrong: [] })
  for (const [place, value] of [
    [1, '11'],
    [4, '1'],
    [5, '8'],
    [6, '6'],
  ] as const) {
    const bad = row.with(place, value) as unknown as AuditRow
    t.match(judgeAudits([[bad], [bad]]), { isBalanced: false, wrong: [/a:b/] }, `column ${place}`)
  }
  const other: AuditRow = ['s a:b', '20', '15', '2', '0', '7', '7']
  t.match(judgeAudits([[row], [other]]), { isBalanced: false }, 'each fits, but they differ')
  t.match(judgeAudits([[row], []]), { isBalanced: false })
  const negative: AuditRow = ['s a:b', '1', '2', '0', '0', '-1', '-1']
  t.match(judgeAudits([[negative], [negative]]), { isBalanced: true, overdrawn: 1 })
})

t.test('players are seeded, bring real drops and take only their own', async (t) => {
  t.match(LOOT_DATA_SOURCE, /minecraft-data .*MIT/)
  t.ok(BLOCKS.length > 800 && ENTITIES.length > 50)
  const play = (seed: number) => {
    const share = new OwnShare()
    const players = new Players(new SeededRandom(seed), share, 20, 1)
    const held = new Map<string, number>()
    const all: PlannedOperation[] = []
    for (let tick = 0; tick < 200; tick++) {
      const operations = players.tick()
      all.push(...operations)
      for (const { kind, storage, item, amount } of operations) {
        if (kind === 'deposit') continue
        const left = (held.get(itemKey(storage, item)) ?? 0) - amount
        if (left < 0) t.fail(`${item} was taken without having been brought`)
        held.set(itemKey(storage, item), left)
      }
      // What was brought in this tick may be taken in the next one: it has been acknowledged by then.
      for (const { kind, storage, item, amount } of operations) {
        if (kind === 'withdraw') continue
        share.add(storage, item, amount)
        held.set(itemKey(storage, item), (held.get(itemKey(storage, item)) ?? 0) + amount)
      }
    }
    return all
  }
  const operations = play(7)
  t.ok(JSON.stringify(play(7)) === JSON.stringify(operations), 'the same seed, the same wishes')
  t.ok(JSON.stringify(play(8)) !== JSON.stringify(operations), 'another seed, others')
  t.ok(operations.every(({ amount }) => Number.isSafeInteger(amount) && amount > 0))
  const chests = new OwnShare()
  chests.add(chestOf('lobby-1', 1), 'minecraft:coal', 64)
  t.equal(chests.pick(new SeededRandom(1)), undefined, 'no player takes what transfers move')
  t.ok(operations.some(({ kind }) => kind === 'withdraw'))
  t.ok(
    operations.some(({ storage }) => storage === QUARRY) &&
      operations.some(({ storage }) => storage !== QUARRY),
  )
})

t.test(
  'the last line of the demo has exactly the agreed fields, and its verdict needs all of them',
  async (t) => {
    const built = parseStructureLog(`? anchor ${ANCHOR}\n+ anchor ${ANCHOR}\n`)
    const structures = [{ anchors: [ANCHOR], transfers: [] }]
    const rows: AuditRow[] = [[itemKey('s', 'a:b'), '10', '0', '0', '0', '10', '10']]
    const base = {
      servers: [{ id: 'a', restarts: 0, log: [deposit], structureLog: built, quantities: quantities(10n) }],
      counts: { kills: 1, cuts: 1, leaderKills: 1 },
      convergence: {
        converged: true,
        convergenceMs: 5,
        finals: [quantities(10n)],
        structures,
        audits: [rows],
      },
      verdict: judge([[deposit]], [quantities(10n)]),
      structure: judgeStructure([built], structures),
      leaderChanges: 2,
      movedItems: { put: 64n, moved: 60n },
      withdrawals: countWithdrawals([[deposit]]),
      audit: judgeAudits([rows]),
      seconds: 1.5,
    }
    t.strictSame(toJson(base), {
      servers: 1,
      operations: 1,
      acknowledged: 1,
      converged: true,
      lost: 0,
      duplicated: 0,
      kills: 1,
      cuts: 1,
      anchors: 1,
      transfers: 0,
      items_moved: 60,
      strong_acknowledged: 1,
      strong_lost: 0,
      leader_changes: 2,
      withdrawals_backed: 0,
      withdrawals_provisional: 0,
      withdrawals_confirmed: 0,
      withdrawals_compensated: 0,
      overdrawn: 0,
      audit: 'balanced',
      convergence_ms: 5,
      seconds: 1.5,
    })
    const told = (result: typeof base) => {
      let text = ''
      const sink = { isTTY: false, write: (part: string) => (text += part) }
      printReport(sink, {}, result)
      return text
    }
    t.match(told(base), '1 anchor and 0 transfers on every server, 1 operation acknowledged, 0 lost')
    t.match(told(base), 'leadership passed on 2 times.')
    t.match(told({ ...base, leaderChanges: 1 }), 'leadership passed on once.')
    t.match(told(base), 'PASSED: 0 items lost, 0 duplicated')
    t.match(told(base), '(1 link cut, 1 server killed, 1.5 s)')
    t.equal(isGood(base), true)
    t.equal(isGood({ ...base, convergence: { ...base.convergence, converged: false } }), false)
    t.equal(isGood({ ...base, verdict: judge([[deposit]], [quantities(9n)]) }), false)
    t.equal(isGood({ ...base, verdict: judge([[deposit]], [quantities(11n)]) }), false)
    const lost = judgeStructure([built], [...structures, { anchors: [], transfers: [] }])
    t.equal(isGood({ ...base, structure: lost }), false)
    const negative = judgeAudits([[[itemKey('s', 'a:b'), '1', '2', '0', '0', '-1', '-1']]])
    t.equal(isGood({ ...base, audit: negative }), false)
    t.equal(isGood({ ...base, audit: { ...base.audit, isBalanced: false } }), false)
    t.equal(isGood({ ...base, withdrawals: { ...base.withdrawals, provisional: 1 } }), false, 'one is open')
    t.equal(isGood({ ...base, leaderChanges: 0 }), false, 'the kill of a leader changes it')
    t.equal(isGood({ ...base, movedItems: { put: 64n, moved: 0n } }), false, 'nothing moved')
    t.equal(isGood({ ...base, servers: [{ ...base.servers[0]!, structureLog: [] }] }), false)
    t.equal(
      isGood({ ...base, servers: [{ ...base.servers[0]!, log: [] }] }),
      false,
      'nothing done is nothing proven',
    )
  },
)
