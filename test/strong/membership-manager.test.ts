import t from 'tap'
import type { RaftStatus } from '../../src/raft/status.js'
import { MembershipManager, type ServerView } from '../../src/strong/membership-manager.js'

const GRACE_MS = 1_000

const server = (replica: string, alive = true): ServerView => ({
  serverId: replica.split('@')[0]!,
  replica,
  alive,
  departed: false,
  memoryOnly: false,
})

/** What the leader `a@1` sees: all who answer are level with it. */
function statusOf(voters: string[], learners: string[], answering: string[]): RaftStatus {
  const members = [...voters, ...learners].map((node) => ({
    node,
    match: 9,
    next: 10,
    state: 'replicate' as const,
    active: answering.includes(node),
    inflight: 0,
    snapshot: undefined,
  }))
  return { id: 'a@1', commit: 9, configuration: { voters, learners }, members } as unknown as RaftStatus
}

t.test('a voter that is gone for longer than the grace time gives its place to a learner', async (t) => {
  const manager = new MembershipManager({ maxVoters: 3, voterGraceMs: GRACE_MS })
  const servers = [server('a@1'), server('b@1'), server('c@1', false), server('d@1')]
  const answering = ['a@1', 'b@1', 'd@1']
  const before = statusOf(['a@1', 'b@1', 'c@1'], ['d@1'], answering)
  t.equal(manager.next(before, servers, 0), undefined, 'it may come back')
  t.equal(manager.next(before, servers, GRACE_MS - 1), undefined)
  t.same(manager.next(before, servers, GRACE_MS), { kind: 'demote', node: 'c@1' })
  const between = statusOf(['a@1', 'b@1'], ['c@1', 'd@1'], answering)
  t.same(manager.next(between, servers, GRACE_MS + 1), { kind: 'promote', node: 'd@1' })
  const back = servers.map((one) => ({ ...one, alive: true }))
  t.equal(manager.next(before, back, GRACE_MS + 2), undefined, 'whoever is heard again starts afresh')
  t.equal(manager.next(before, servers, GRACE_MS + 3), undefined)
})

t.test(
  'a voter that returns without its disk is another member: learner first, and the old one goes',
  async (t) => {
    const manager = new MembershipManager({ maxVoters: 3, voterGraceMs: GRACE_MS })
    const servers = [server('a@1'), server('b@1'), server('c@2')]
    const answering = ['a@1', 'b@1', 'c@2']
    const voters = ['a@1', 'b@1', 'c@1']
    t.same(manager.next(statusOf(voters, [], answering), servers, 0), { kind: 'add-learner', node: 'c@2' })
    t.same(manager.next(statusOf(voters, ['c@2'], answering), servers, 1), { kind: 'remove', node: 'c@1' })
    const two = statusOf(['a@1', 'b@1'], ['c@2'], answering)
    t.same(manager.next(two, servers, 2), { kind: 'promote', node: 'c@2' })
  },
)
