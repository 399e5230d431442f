import fc from 'fast-check'
import t from 'tap'
import { Inflights } from '../../src/raft/inflights.js'
import { RaftLog } from '../../src/raft/log.js'
import { majority, quorumActive, quorumValue, voteResult } from '../../src/raft/quorum.js'
import { ReadQueue } from '../../src/raft/read-queue.js'
import type { Entry } from '../../src/raft/types.js'

const VOTERS = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
const RUNS = { numRuns: 2000 }

const someVoters = fc.subarray(VOTERS)

t.test('quorumValue is the highest value that a majority has reached', async () => {
  fc.assert(
    fc.property(someVoters, fc.array(fc.nat(9), { minLength: 7, maxLength: 7 }), (voters, values) => {
      const reached = (voter: string) => values[VOTERS.indexOf(voter)]!
      // Naive: try every value from the top.
      let expected = 9
      while (expected > 0) {
        const count = voters.filter((voter) => reached(voter) >= expected).length
        if (count * 2 > voters.length) break
        expected -= 1
      }
      return quorumValue(voters, reached) === (voters.length === 0 ? 0 : expected)
    }),
    RUNS,
  )
})

t.test('voteResult agrees with counting every way the missing votes could go', async () => {
  const votes = fc.dictionary(fc.constantFrom(...VOTERS, 'stranger'), fc.boolean())
  fc.assert(
    fc.property(someVoters, votes, (voters, given) => {
      const outcomes = new Set<boolean>()
      const missing = voters.filter((voter) => given[voter] === undefined)
      for (let ways = 0; ways < 2 ** missing.length; ways++) {
        const yes = voters.filter((voter) => given[voter] ?? (ways >> missing.indexOf(voter)) % 2 === 1)
        outcomes.add(yes.length * 2 > voters.length)
      }
      const expected = outcomes.size === 2 ? 'pending' : outcomes.has(true) ? 'won' : 'lost'
      return voteResult(voters, new Map(Object.entries(given))) === expected
    }),
    RUNS,
  )
})

t.test('two majorities share a voter, also when one voter comes or goes', async () => {
  fc.assert(
    fc.property(
      someVoters,
      someVoters,
      someVoters,
      fc.constantFrom(...VOTERS),
      (voters, one, two, changed) => {
        const next = voters.includes(changed)
          ? voters.filter((voter) => voter !== changed)
          : [...voters, changed]
        if (voters.length === 0 || next.length === 0) return true
        const isMajority = (group: readonly string[], part: readonly string[]) =>
          quorumActive(group, (voter) => part.includes(voter))
        if (!isMajority(voters, one) || !isMajority(next, two)) return true
        const counted = one.filter((voter) => voters.includes(voter))
        return counted.some((voter) => two.includes(voter) && next.includes(voter))
      },
    ),
    RUNS,
  )
  t.equal(majority(5), 3)
  t.equal(majority(4), 3)
})

t.test('the in-flight window counts like a list', async () => {
  const action = fc.oneof(
    fc.record({ add: fc.integer({ min: 1, max: 3 }), bytes: fc.nat(50) }),
    fc.record({ freeTo: fc.nat(200) }),
  )
  fc.assert(
    fc.property(fc.array(action, { maxLength: 300 }), (actions) => {
      const window = new Inflights(8, 120)
      let list: { last: number; bytes: number }[] = []
      let last = 0
      for (const step of actions) {
        if ('add' in step) {
          if (window.full) continue
          last += step.add
          window.add(last, step.bytes)
          list.push({ last, bytes: step.bytes })
        } else {
          window.freeTo(step.freeTo)
          list = list.filter((item) => item.last > step.freeTo)
        }
        const bytes = list.reduce((sum, item) => sum + item.bytes, 0)
        if (window.count !== list.length || window.bytes !== bytes) return false
        if (window.full !== (list.length >= 8 || bytes >= 120)) return false
      }
      return true
    }),
    { numRuns: 500 },
  )
})

t.test(
  'a read is released by a majority of echoes of its own round or a later one, and by nothing else',
  async () => {
    const action = fc.oneof(
      fc.record({ kind: fc.constant('add' as const) }),
      fc.record({ kind: fc.constant('round' as const) }),
      fc.record({
        kind: fc.constant('echo' as const),
        from: fc.constantFrom('b', 'c', 'x'),
        sequence: fc.nat(12),
      }),
    )
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const queue = new ReadQueue()
        const waiting: { id: string; round: number | undefined; echoed: Set<string> }[] = []
        let rounds = 0
        for (const [at, step] of actions.entries()) {
          if (step.kind === 'add') {
            queue.add(at, 'a', `${at}`)
            waiting.push({ id: `${at}`, round: undefined, echoed: new Set(['a']) })
          } else if (step.kind === 'round') {
            if (!queue.beginRound()) continue
            rounds += 1
            for (const read of waiting) read.round ??= rounds
          } else if (step.sequence <= rounds) {
            queue.echo(step.from, step.sequence)
            for (const read of waiting) {
              if (read.round !== undefined && step.sequence >= read.round) read.echoed.add(step.from)
            }
          } else queue.echo(step.from, step.sequence)
          const expected = waiting.filter(({ round, echoed }) => {
            return round !== undefined && ['a', 'b', 'c'].filter((voter) => echoed.has(voter)).length >= 2
          })
          for (const read of expected) waiting.splice(waiting.indexOf(read), 1)
          const released = queue.takeConfirmed(['a', 'b', 'c'], 'a').map(({ requestId }) => requestId)
          if (released.join() !== expected.map(({ id }) => id).join()) return false
        }
        return queue.length === waiting.length
      }),
      RUNS,
    )
  },
)

/** What a log does, on arrays that are never compacted and a disk that is compared entry by entry. */
class NaiveLog {
  entries: Entry[] = []
  disk: Entry[] = []
  batches: { sequence: number; entries: Entry[] }[] = []
  handed: Entry[] = []
  committed = 0
  applied = 0

  accept(previousIndex: number, previousTerm: number, entries: readonly Entry[]): boolean {
    if ((this.entries[previousIndex - 1]?.term ?? 0) !== previousTerm || previousIndex > this.entries.length)
      return false
    for (const entry of entries) {
      if (this.entries[entry.index - 1]?.term === entry.term) continue
      this.entries = [...this.entries.slice(0, entry.index - 1), entry]
    }
    return true
  }

  takeUnpersisted(sequence: number): Entry[] {
    let same = 0
    while (same < this.handed.length && this.handed[same] === this.entries[same]) same += 1
    const fresh = this.entries.slice(same)
    this.handed = [...this.entries]
    if (fresh.length > 0) this.batches.push({ sequence, entries: fresh })
    return fresh
  }

  persistedThrough(sequence: number): void {
    while (this.batches[0] !== undefined && this.batches[0].sequence <= sequence) {
      const { entries } = this.batches.shift()!
      this.disk = [...this.disk.slice(0, entries[0]!.index - 1), ...entries]
    }
  }

  get persisted(): number {
    let same = 0
    while (same < this.disk.length && this.disk[same] === this.entries[same]) same += 1
    return same
  }
}

const logAction = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('append' as const), count: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('accept' as const),
      back: fc.nat(6),
      count: fc.nat(5),
      wrongTerm: fc.integer({ min: 0, max: 9 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('commit' as const), back: fc.nat(5) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('take' as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('persist' as const), upTo: fc.nat(3) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('apply' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('compact' as const), back: fc.nat(3) }) },
)

t.test('the log does what a plain array does, through conflicts, slow disks and compaction', async () => {
  fc.assert(
    fc.property(fc.array(logAction, { maxLength: 80 }), (actions) => {
      const configuration = { voters: [], learners: [] }
      const log = new RaftLog({ index: 0, term: 0, configuration }, [], {
        term: 0,
        vote: undefined,
        commit: 0,
      })
      const naive = new NaiveLog()
      let term = 1
      let sequence = 0
      for (const action of actions) {
        term += 1
        const fresh = (from: number, count: number) =>
          Array.from({ length: count }, (_, at): Entry => ({ index: from + at, term, kind: 'no-op' }))
        if (action.kind === 'append') {
          const entries = fresh(log.lastIndex + 1, action.count)
          log.append(entries)
          naive.entries.push(...entries)
        } else if (action.kind === 'accept') {
          const previous = Math.max(log.committed, log.lastIndex - action.back)
          const previousTerm = (log.termAt(previous) ?? 0) + (action.wrongTerm === 0 ? 1 : 0)
          // Half of what the leader sends is known already, half is new and may conflict.
          const known = naive.entries.slice(previous, previous + (action.count >> 1))
          const entries = [...known, ...fresh(previous + known.length + 1, action.count - known.length)]
          const accepted = log.accept(previous, previousTerm, entries)
          if (naive.accept(previous, previousTerm, entries) !== (accepted !== undefined)) return false
        } else if (action.kind === 'commit') {
          const index = Math.max(0, log.lastIndex - action.back)
          log.commitTo(index)
          naive.committed = Math.max(naive.committed, index)
        } else if (action.kind === 'take') {
          sequence += 1
          if (log.takeUnpersisted(sequence).length !== naive.takeUnpersisted(sequence).length) return false
        } else if (action.kind === 'persist') {
          log.persistedThrough(sequence - action.upTo)
          naive.persistedThrough(sequence - action.upTo)
        } else if (action.kind === 'apply') {
          const through = Math.min(naive.committed, naive.persisted)
          const expected = naive.entries.slice(naive.applied, through)
          naive.applied = Math.max(naive.applied, through)
          const got = log.takeCommitted(Number.MAX_SAFE_INTEGER)
          if (got.length !== expected.length || got.some((entry, at) => entry !== expected[at])) return false
        } else log.compactTo(log.applied - action.back)
        if (!agrees(log, naive)) return false
      }
      return true
    }),
    { numRuns: 1500 },
  )
})

function agrees(log: RaftLog, naive: NaiveLog): boolean {
  if (log.lastIndex !== naive.entries.length || log.persisted !== naive.persisted) return false
  if (log.committed !== naive.committed || log.applied !== naive.applied) return false
  for (let index = log.baseIndex; index <= log.lastIndex + 1; index++) {
    const expected = index === 0 ? 0 : naive.entries[index - 1]?.term
    if (log.termAt(index) !== expected) return false
  }
  const kept = naive.entries.slice(log.baseIndex)
  return (
    log.bytes === kept.length * 16 && log.uncommittedBytes === (naive.entries.length - naive.committed) * 16
  )
}

t.test('findConflict never skips a place where the logs agree', async () => {
  const terms = fc.array(fc.nat(2), { minLength: 1, maxLength: 12 }).map((steps) => {
    let term = 1
    return steps.map((step) => {
      term += step
      return term
    })
  })
  fc.assert(
    fc.property(terms, terms, fc.nat(11), (mine, theirs, shared) => {
      // Two logs that agree up to `shared` and then differ, as log matching demands.
      const common = mine.slice(0, Math.min(shared, mine.length))
      const base = common.at(-1) ?? 0
      const other = [...common, ...theirs.map((term) => term + base + 20)]
      const log = logOf(mine)
      const { index } = log.findConflict(other.length, other.at(-1) ?? 0)
      return index >= common.length && index <= mine.length
    }),
    RUNS,
  )
})

function logOf(terms: readonly number[]): RaftLog {
  const entries = terms.map((term, at): Entry => ({ index: at + 1, term, kind: 'no-op' }))
  const snapshot = { index: 0, term: 0, configuration: { voters: [], learners: [] } }
  return new RaftLog(snapshot, entries, { term: 99, vote: undefined, commit: 0 })
}
