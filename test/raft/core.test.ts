import t from 'tap'
import { ConfigurationHistory, changed, MAX_MEMBERS } from '../../src/raft/configuration.js'
import type { Append, Message } from '../../src/raft/messages.js'
import { DEFAULT_RAFT_OPTIONS, type RaftOptions, validateRaftOptions } from '../../src/raft/options.js'
import { Progress } from '../../src/raft/progress.js'
import { founding, joining, MAX_READIES_IN_FLIGHT, RaftNode } from '../../src/raft/raft-node.js'
import type { Ready } from '../../src/raft/ready.js'
import type { Entry } from '../../src/raft/types.js'
import { ConfigError, InvalidArgumentError, InvariantViolation } from '../../src/sync/errors.js'

const voters = ['a', 'b', 'c']
const configuration = { voters, learners: [] }
const data = (length: number) => new Uint8Array(length)

interface Given {
  readonly options?: Partial<RaftOptions>
  readonly entries?: readonly Entry[]
  readonly term?: number
  readonly vote?: string
  readonly commit?: number
}

function node({ options = {}, entries = [], term = 0, vote, commit = 0 }: Given = {}): RaftNode {
  const restored = {
    hardState: { term, vote, commit },
    snapshot: { index: 0, term: 0, configuration },
    entries,
  }
  return new RaftNode({ id: 'a', options, random: Math.random, restored })
}

/** Does what a host does, with a disk that is done at once; returns everything that was handed out. */
function settle(member: RaftNode): Ready[] {
  const all: Ready[] = []
  for (let ready = member.ready(); ready !== undefined; ready = member.ready()) {
    all.push(ready)
    member.advance(ready)
  }
  return all
}

const sent = (readies: readonly Ready[]): Message[] =>
  readies.flatMap((ready) => [...ready.messages, ...ready.messagesAfterPersist])

function leader(given: Given = {}): RaftNode {
  const member = node(given)
  member.campaign()
  settle(member)
  const term = member.status().term + 1
  member.step({ type: 'pre-vote-response', from: 'b', to: 'a', term, granted: true })
  settle(member)
  member.step({ type: 'vote-response', from: 'b', to: 'a', term, granted: true })
  settle(member)
  return member
}

function acknowledge(member: RaftNode, from: string, index: number): void {
  const { term } = member.status()
  member.step({
    type: 'append-response',
    from,
    to: 'a',
    term,
    rejected: false,
    index,
    hintIndex: 0,
    hintTerm: 0,
  })
}

const appendFrom = (from: string, term: number, fields: Partial<Append> = {}): Append => {
  return {
    type: 'append',
    from,
    to: 'a',
    term,
    previousIndex: 0,
    previousTerm: 0,
    entries: [],
    commit: 0,
    ...fields,
  }
}

t.test('options are checked, each and together', async (t) => {
  t.same(validateRaftOptions(), DEFAULT_RAFT_OPTIONS)
  const bad: Partial<RaftOptions>[] = [
    { electionTicks: 0 },
    { heartbeatTicks: 1.5 },
    { heartbeatTicks: 6 },
    { maxEntryBytes: 512 * 1024 },
    { maxAppendBytes: 8 * 1024 * 1024 },
    { maxVoters: 4 },
    { maxInflightMessages: Number.NaN },
    { unknown: 1 } as Partial<RaftOptions>,
  ]
  for (const options of bad)
    t.throws(() => validateRaftOptions(options), ConfigError, JSON.stringify(options))
  t.throws(() => new RaftNode({ id: '', random: Math.random, restored: joining() }), InvalidArgumentError)
})

t.test('a vote is given once in a term, also across a restart', async (t) => {
  const member = node({ term: 4 })
  const ask = (from: string): Message => {
    return { type: 'vote', from, to: 'a', term: 5, lastIndex: 0, lastTerm: 0, transfer: false }
  }
  member.step(ask('b'))
  const [ready] = settle(member)
  t.same(ready?.hardState, { term: 5, vote: 'b', commit: 0 })
  t.equal(ready?.mustSync, true)
  t.match(ready?.messagesAfterPersist, [{ type: 'vote-response', to: 'b', granted: true }])
  t.same(ready?.messages, [], 'nothing leaves before the vote is on disk')
  const again = node({ term: 5, vote: 'b' })
  again.step(ask('c'))
  t.match(sent(settle(again)), [{ type: 'vote-response', to: 'c', granted: false }])
  again.step(ask('b'))
  t.match(
    sent(settle(again)),
    [{ type: 'vote-response', to: 'b', granted: true }],
    'a lost answer is repeated',
  )
})

t.test('a follower acknowledges after the disk, in order, and only what the disk will hold', async (t) => {
  const member = node()
  const entries: Entry[] = [1, 2, 3].map((index) => ({ index, term: 1, kind: 'no-op' }))
  member.step(appendFrom('b', 1, { entries: entries.slice(0, 2) }))
  const first = member.ready()!
  t.same(first.messages, [])
  t.match(first.messagesAfterPersist, [{ type: 'append-response', index: 2 }])
  // While the disk works another leader overwrites what is on its way.
  member.step(
    appendFrom('c', 2, {
      previousIndex: 1,
      previousTerm: 1,
      entries: [{ index: 2, term: 2, kind: 'no-op' }],
    }),
  )
  const second = member.ready()!
  t.same(second.entries, [{ index: 2, term: 2, kind: 'no-op' }])
  member.advance(first)
  t.equal(member.status().persisted, 1, 'the overwritten entry does not count as durable')
  member.advance(second)
  t.equal(member.status().persisted, 2)
})

t.test('a follower commits only what it knows to be the leader’s', async (t) => {
  const entries: Entry[] = [1, 2, 3].map((index) => ({ index, term: 1, kind: 'no-op' }))
  const member = node({ entries, term: 1 })
  member.step(appendFrom('b', 2, { previousIndex: 1, previousTerm: 1, commit: 3 }))
  t.equal(member.status().commit, 1, 'entries 2 and 3 may be another leader’s')
})

t.test('a leader does not count itself before its disk has the entry', async (t) => {
  const member = leader()
  acknowledge(member, 'b', 1)
  settle(member)
  member.propose(data(1))
  const ready = member.ready()!
  t.ok(
    ready.messages.some(({ type }) => type === 'append'),
    'the followers may have it first',
  )
  acknowledge(member, 'b', 2)
  t.equal(member.status().commit, 1)
  member.advance(ready)
  t.equal(member.status().commit, 2)
  member.propose(data(1))
  const other = member.ready()!
  acknowledge(member, 'b', 3)
  acknowledge(member, 'c', 3)
  t.equal(member.status().commit, 3, 'the others are a majority without it')
  t.same(member.ready()?.committed ?? [], [], 'but it applies what its disk holds')
  member.advance(other)
})

t.test('old refusals move nothing', async (t) => {
  const progress = new Progress(11, 0, 4, 1000)
  t.equal(progress.rejected(7, 3), false, 'of a probe that is not the last one')
  t.equal(progress.next, 11)
  t.equal(progress.rejected(10, 6), true)
  t.equal(progress.next, 7)
  progress.acknowledged(8)
  progress.becomeReplicate()
  t.equal(progress.rejected(8, 2), false, 'of what is acknowledged since')
  t.equal(progress.state, 'replicate')
  t.equal(progress.rejected(9, 2), true)
  t.same([progress.state, progress.next], ['probe', 9], 'never below what is acknowledged')
})

t.test('a snapshot is taken piece by piece, from one leader in one term', async (t) => {
  const member = node()
  const learner = { voters: ['b'], learners: ['a'] }
  const snapshot = { index: 9, term: 1, configuration: learner }
  const piece = (term: number, offset: number, last: boolean): Message => {
    return { type: 'snapshot', from: 'b', to: 'a', term, snapshot, offset, data: data(4), last }
  }
  member.step(piece(1, 0, false))
  t.match(sent(settle(member)), [{ type: 'snapshot-response', rejected: false, nextOffset: 4 }])
  member.step(piece(2, 4, false))
  t.match(
    sent(settle(member)),
    [{ type: 'snapshot-response', rejected: true, nextOffset: 0 }],
    'it may be cut differently',
  )
  member.step(piece(2, 0, false))
  member.step(piece(2, 4, true))
  const [ready] = settle(member)
  t.same(
    ready?.chunks.map(({ offset, last }) => [offset, last]),
    [
      [0, false],
      [4, true],
    ],
  )
  t.equal(ready?.mustSync, true)
  t.match(ready?.messagesAfterPersist.at(-1), { type: 'append-response', rejected: false, index: 9 })
  t.match(member.status(), { lastIndex: 9, commit: 9, applied: 9, snapshotIndex: 9, configuration: learner })
  t.match(member.snapshotMetadata(9), { configuration: learner })
})

t.test('batches are advanced in order, and only so many are under way', async (t) => {
  const member = leader()
  const readies: Ready[] = []
  for (let at = 0; at < MAX_READIES_IN_FLIGHT + 5; at++) {
    member.propose(data(1))
    const ready = member.ready()
    if (ready !== undefined) readies.push(ready)
  }
  t.equal(readies.length, MAX_READIES_IN_FLIGHT)
  t.throws(() => member.advance(readies[1]!), InvariantViolation)
})

t.test('proposals of one turn leave as one message per follower, and at once', async (t) => {
  const member = leader()
  acknowledge(member, 'b', 1)
  settle(member)
  for (let at = 0; at < 10; at++)
    t.match(member.propose(data(3)), { status: 'accepted', index: at + 2, term: 1 })
  const ready = member.ready()!
  const appends = ready.messages.filter(
    (message): message is Append => message.type === 'append' && message.to === 'b',
  )
  t.equal(appends.length, 1)
  t.equal(appends[0]?.entries.length, 10)
  t.equal(ready.entries.length, 10, 'and one batch for the disk')
})

t.test('the window to a silent follower is bounded by messages and by bytes', async (t) => {
  const options = {
    maxAppendEntries: 1,
    maxInflightMessages: 4,
    maxInflightBytes: 1000,
    maxAppendBytes: 500,
    maxEntryBytes: 400,
  }
  const member = leader({ options })
  acknowledge(member, 'b', 1)
  acknowledge(member, 'c', 1)
  settle(member)
  for (let at = 0; at < 20; at++) member.propose(data(10))
  const count = (readies: Ready[]) =>
    sent(readies).filter(({ type, to }) => type === 'append' && to === 'b').length
  t.equal(count(settle(member)), 4)
  t.equal(member.status().members.find(({ node: id }) => id === 'b')?.inflight, 4)
  acknowledge(member, 'b', 3)
  t.ok(count(settle(member)) >= 2, 'what is acknowledged makes room')

  const heavy = leader({ options: { ...options, maxInflightMessages: 100 } })
  acknowledge(heavy, 'b', 1)
  settle(heavy)
  for (let at = 0; at < 20; at++) heavy.propose(data(384))
  t.equal(count(settle(heavy)), 3, 'one may pass the byte bound, no more')
})

t.test('what cannot be taken is refused, with the reason', async (t) => {
  const options = { maxUncommittedBytes: 1000, maxEntryBytes: 400, maxAppendBytes: 1000 }
  const member = leader({ options })
  t.same(member.propose(data(401)), { status: 'refused', reason: 'too-large' })
  t.equal(member.propose(data(400)).status, 'accepted')
  t.equal(member.propose(data(400)).status, 'accepted')
  t.same(
    member.propose(data(400)),
    { status: 'refused', reason: 'overloaded' },
    'no quorum: the log does not grow for ever',
  )
  t.same(member.requestRead(), { status: 'refused', reason: 'not-committed-in-term' })
  t.same(member.changeMembership({ kind: 'add-learner', node: 'd' }), {
    status: 'refused',
    reason: 'not-committed-in-term',
  })
  settle(member)
  acknowledge(member, 'b', 3)
  settle(member)
  t.equal(member.propose(data(400)).status, 'accepted', 'committed bytes no longer count')
  t.equal(member.requestRead().status, 'pending')
})

t.test('a follower bounds what it forwards and gives up on answers', async (t) => {
  const options = {
    maxPendingRequests: 4,
    maxForwardedBytes: 1000,
    maxEntryBytes: 600,
    requestTimeoutTicks: 3,
    electionTicks: 50,
  }
  const member = node({ options })
  t.same(member.propose(data(1)), { status: 'refused', reason: 'no-leader' })
  t.same(member.requestRead(), { status: 'refused', reason: 'no-leader' })
  member.step(appendFrom('b', 1))
  settle(member)
  const proposal = member.propose(data(600))
  t.equal(proposal.status, 'forwarded')
  t.same(member.propose(data(600)), { status: 'refused', reason: 'overloaded' }, 'too many bytes')
  t.same(member.propose(data(601)), { status: 'refused', reason: 'too-large' })
  const reads = [member.requestRead(), member.requestRead(), member.requestRead()]
  t.same(member.requestRead(), { status: 'refused', reason: 'overloaded' }, 'too many requests')
  settle(member)
  for (let at = 0; at < 5; at++) member.tick()
  const outcomes = settle(member)
  t.match(
    outcomes.flatMap((ready) => ready.proposalOutcomes),
    [{ status: 'unknown', reason: 'timed-out' }],
  )
  t.equal(outcomes.flatMap((ready) => ready.readOutcomes).length, reads.length)
  t.equal(member.status().pendingRequests, 0)
  const { requestId } = proposal as { requestId: string }
  member.step({
    type: 'propose-response',
    from: 'b',
    to: 'a',
    term: 0,
    requestId,
    answers: [{ status: 'accepted', index: 9, term: 1 }],
  })
  t.same(settle(member), [], 'an answer that comes too late is nobody’s')
})

t.test('an answer meant for the process before a restart is not taken for one of today', async (t) => {
  const run = () => {
    const member = node()
    member.step(appendFrom('b', 1))
    settle(member)
    return { member, read: member.requestRead() as { requestId: string } }
  }
  const before = run()
  const after = run()
  t.not(before.read.requestId, after.read.requestId)
  const stale = { status: 'confirmed' as const, index: 0 }
  after.member.step({
    type: 'read-response',
    from: 'b',
    to: 'a',
    term: 0,
    requestId: before.read.requestId,
    answer: stale,
  })
  t.same(
    settle(after.member).flatMap((ready) => ready.readOutcomes),
    [],
  )
})

t.test('messages for another incarnation, from itself, or of the past change nothing', async (t) => {
  const member = node({ term: 3 })
  const before = member.status()
  member.step({ ...appendFrom('b', 9), to: 'a@before' })
  member.step({ type: 'vote-response', from: 'a', to: 'a', term: 9, granted: true })
  member.step({ type: 'vote-response', from: 'b', to: 'a', term: 2, granted: true })
  member.step({ type: 'timeout-now', from: 'b', to: 'a', term: 2 })
  t.same(member.status(), before)
  t.equal(member.ready(), undefined)
})

t.test('a disk that lost acknowledged entries stops the member instead of going on', async (t) => {
  const member = node()
  t.throws(
    () => member.step({ type: 'heartbeat', from: 'b', to: 'a', term: 1, commit: 5, readSequence: 0 }),
    /RAFT-5 violated/,
  )
  t.throws(() => node({ commit: 3 }), /RAFT-5 violated/)
  const entries: Entry[] = [1, 2].map((index) => ({ index, term: 1, kind: 'no-op' }))
  const committed = node({ entries, term: 1, commit: 2 })
  const conflicting = appendFrom('b', 2, {
    previousIndex: 1,
    previousTerm: 1,
    entries: [{ index: 2, term: 2, kind: 'no-op' }],
  })
  committed.step(conflicting)
  t.match(
    sent(settle(committed)),
    [{ type: 'append-response', rejected: false, index: 2 }],
    'committed entries are never touched',
  )
  t.throws(() => node({ entries, term: 0 }), /RAFT-1 violated/)
})

t.test('a leader that hears no quorum steps down; a learner gives up a silent leader', async (t) => {
  const member = leader({ options: { electionTicks: 5 } })
  for (let at = 0; at < 5; at++) member.tick()
  t.equal(member.status().role, 'leader')
  member.tick()
  t.equal(member.status().role, 'follower')
  t.equal(member.status().leader, undefined)

  const joiner = new RaftNode({
    id: 'a',
    options: { electionTicks: 5 },
    random: Math.random,
    restored: joining(),
  })
  joiner.step(appendFrom('b', 1))
  for (let at = 0; at < 9; at++) joiner.tick()
  t.equal(joiner.status().leader, 'b')
  joiner.tick()
  t.equal(joiner.status().leader, undefined)
  t.equal(joiner.status().role, 'follower', 'and it never stands')
})

t.test('elections are spread over a whole timeout', async (t) => {
  const timeouts = new Set<number>()
  for (let at = 0; at < 300; at++) {
    const member = node({ options: { electionTicks: 10 } })
    let ticks = 0
    while (member.status().role === 'follower') {
      member.tick()
      ticks += 1
    }
    timeouts.add(ticks)
  }
  t.equal(Math.min(...timeouts), 10)
  t.equal(Math.max(...timeouts), 19)
})

t.test('a founder is alone and leads after one election', async (t) => {
  const member = new RaftNode({ id: 'f@1', random: Math.random, restored: founding('f@1') })
  member.campaign()
  const first = member.ready()!
  t.equal(member.status().role, 'candidate', 'its own vote counts when it is on disk')
  member.advance(first)
  settle(member)
  t.match(member.status(), { role: 'leader', commit: 1, applied: 1, committedInTerm: true })
  const read = member.requestRead()
  t.match(
    settle(member).flatMap((ready) => ready.readOutcomes),
    [{ requestId: (read as { requestId: string }).requestId, index: 1 }],
  )
})

t.test('compaction keeps what is asked for and never more than is applied', async (t) => {
  const member = new RaftNode({ id: 'f', random: Math.random, restored: founding('f') })
  member.campaign()
  settle(member)
  for (let at = 0; at < 20; at++) member.propose(data(1))
  t.throws(() => member.snapshotMetadata(21), InvalidArgumentError, 'not applied yet')
  settle(member)
  const snapshot = member.snapshotMetadata(21)
  t.same(snapshot, { index: 21, term: 1, configuration: { voters: ['f'], learners: [] } })
  member.compact(snapshot, 5)
  t.match(member.status(), { firstIndex: 17, snapshotIndex: 21, lastIndex: 21 })
  t.throws(() => member.snapshotMetadata(3), InvalidArgumentError, 'compacted')
  member.compact({ ...snapshot, index: 4 }, 0)
  t.equal(member.status().snapshotIndex, 21, 'an older snapshot changes nothing')
  t.equal(member.isLeader, true)
  t.equal(member.logBytes, member.status().logBytes)
})

t.test('the membership follows the log, back as well as forth', async (t) => {
  const history = new ConfigurationHistory(0, { voters: ['a'], learners: [] })
  const entry = (index: number, learners: string[]): Entry => {
    return { index, term: 1, kind: 'configuration', configuration: { voters: ['a'], learners } }
  }
  history.observe([entry(3, ['b']), { index: 4, term: 1, kind: 'no-op' }, entry(5, ['b', 'c'])])
  t.same(history.current.learners, ['b', 'c'])
  t.same(history.at(4).learners, ['b'])
  t.same(history.at(2).learners, [])
  history.truncateFrom(5)
  t.same(history.current.learners, ['b'])
  t.equal(history.currentIndex, 3)
  history.compactTo(4)
  history.truncateFrom(4)
  t.same(history.current.learners, ['b'], 'what is compacted stays')

  const member = node({ term: 1 })
  const change: Entry = {
    index: 1,
    term: 2,
    kind: 'configuration',
    configuration: { voters: ['a', 'b'], learners: [] },
  }
  member.step(appendFrom('b', 2, { entries: [change] }))
  t.same(member.status().configuration.voters, ['a', 'b'], 'in force when appended')
  member.step(appendFrom('c', 3, { entries: [{ index: 1, term: 3, kind: 'no-op' }] }))
  t.same(member.status().configuration.voters, voters, 'and gone when overwritten')
})

t.test('changes of membership are by one server, and bounded', async (t) => {
  const start = { voters: ['a', 'b', 'c'], learners: ['l'] }
  t.same(changed(start, { kind: 'promote', node: 'l' }, 3), 'too-many-voters')
  t.same(changed(start, { kind: 'promote', node: 'l' }, 5), { voters: ['a', 'b', 'c', 'l'], learners: [] })
  t.same(changed(start, { kind: 'demote', node: 'b' }, 5), { voters: ['a', 'c'], learners: ['b', 'l'] })
  t.same(changed(start, { kind: 'promote', node: 'x' }, 5), 'not-a-member')
  t.same(changed(start, { kind: 'demote', node: 'l' }, 5), 'already-a-learner')
  t.same(changed(start, { kind: 'add-learner', node: 'a' }, 5), 'already-a-member')
  t.same(changed({ voters: ['a'], learners: [] }, { kind: 'remove', node: 'a' }, 5), 'last-voter')
  const many = { voters: ['a'], learners: Array.from({ length: MAX_MEMBERS - 1 }, (_, at) => `${at}`) }
  t.same(changed(many, { kind: 'add-learner', node: 'x' }, 5), 'too-many-members')
})

t.test(
  'a follower whose connection to the leader broke stands soon, and not if the leader is heard again',
  async (t) => {
    const configuration = { voters: ['a', 'b', 'c'], learners: [] }
    const follower = () => {
      const node = new RaftNode({
        id: 'a',
        options: { electionTicks: 20, heartbeatTicks: 2 },
        random: () => 0.99,
        restored: {
          hardState: { term: 1, vote: undefined, commit: 0 },
          snapshot: { index: 0, term: 0, configuration },
          entries: [],
        },
      })
      const heartbeat = {
        type: 'heartbeat',
        from: 'b',
        to: 'a',
        term: 1,
        commit: 0,
        readSequence: 0,
      } as const
      node.step(heartbeat)
      const asks = () => {
        const messages = []
        for (let ready = node.ready(); ready; ready = node.ready()) {
          messages.push(...ready.messages, ...ready.messagesAfterPersist)
          node.advance(ready)
        }
        return messages.filter(({ type }) => type === 'pre-vote').length
      }
      const ticksUntilAsking = () => {
        for (let ticks = 1; ticks <= 100; ticks++) {
          node.tick()
          if (asks() > 0) return ticks
        }
        return undefined
      }
      return { node, heartbeat, ticksUntilAsking }
    }
    const undisturbed = follower()
    t.equal(undisturbed.ticksUntilAsking(), 39)
    const cut = follower()
    cut.node.reportLinkLost('b')
    t.equal(cut.node.leader, undefined)
    const soon = cut.ticksUntilAsking()!
    t.ok(soon >= 4 && soon <= 10, `asks after ${soon} ticks`)
    const healed = follower()
    healed.node.reportLinkLost('b')
    healed.node.tick()
    healed.node.step(healed.heartbeat)
    t.equal(healed.node.leader, 'b')
    t.ok(healed.ticksUntilAsking()! >= 20, 'the whole timeout again')
    const other = follower()
    other.node.reportLinkLost('c')
    t.equal(other.node.leader, 'b', 'a link to somebody else says nothing of the leader')
  },
)
