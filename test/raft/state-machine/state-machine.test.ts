import { decode, encode } from 'cbor-x'
import fc from 'fast-check'
import t from 'tap'
import { requestFromTuple, requestToTuple } from '../../../src/raft/state-machine/command-codec.js'
import {
  type Command,
  type Operation,
  type Request,
  withoutSession,
} from '../../../src/raft/state-machine/commands.js'
import { keyOf } from '../../../src/raft/state-machine/event-history.js'
import { LeaseExpiry } from '../../../src/raft/state-machine/lease-expiry.js'
import { STATE_MACHINE_LIMITS } from '../../../src/raft/state-machine/limits.js'
import { SnapshotRestore } from '../../../src/raft/state-machine/snapshot-restore.js'
import { SortedKeys } from '../../../src/raft/state-machine/sorted-keys.js'
import { StateMachine } from '../../../src/raft/state-machine/state-machine.js'
import {
  FrameError,
  InvalidArgumentError,
  InvariantViolation,
  RevisionCompactedError,
} from '../../../src/sync/errors.js'
import { NaiveStore } from './naive-store.js'

const bytes = (text: string) => new TextEncoder().encode(text)
const put = (key: string, value = 'v', lease = 0): Operation => ({
  kind: 'put',
  key,
  value: bytes(value),
  lease,
})
const transact = (...success: Operation[]): Command => ({
  kind: 'transact',
  comparisons: [],
  success,
  failure: [],
})

/** A state machine that numbers its entries by itself. */
class Driven {
  index = 0
  constructor(readonly machine = new StateMachine()) {
    this.index = machine.appliedIndex
  }
  request(request: Request) {
    this.index += 1
    return this.machine.apply(this.index, requestToTuple(request))
  }
  run(command: Command) {
    return this.request(withoutSession(command))
  }
}

function restored(machine: StateMachine): StateMachine {
  const restore = new SnapshotRestore()
  for (const chunk of machine.snapshot()) restore.add(decode(encode(chunk)))
  return restore.finish()
}

const snapshotText = (machine: StateMachine) => Buffer.from(encode([...machine.snapshot()])).toString('hex')

const key = fc.constantFrom('a', 'a/1', 'a/2', 'a/2/x', 'b', 'b/1', 'c')
const value = fc.uint8Array({ maxLength: 2, max: 2 })
const small = fc.nat(6)
const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('put' as const),
      key,
      value,
      lease: fc.constantFrom(0, 0, 1, 3),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
  fc.record({ kind: fc.constant('delete-prefix' as const), prefix: fc.constantFrom('a', 'a/2', 'z', 'b/') }),
  fc.record({ kind: fc.constant('delete-range' as const), from: key, to: key }),
)
const operations = fc.uniqueArray(operation, {
  maxLength: 4,
  selector: (item) => ('key' in item ? item.key : JSON.stringify(item)),
})
const comparison = fc.oneof(
  fc.record({ key, target: fc.constant('exists' as const), exists: fc.boolean() }),
  fc.record({
    key,
    target: fc.constant('value' as const),
    operator: fc.constantFrom('=' as const, '!=' as const),
    operand: value,
  }),
  fc.record({
    key,
    target: fc.constantFrom(
      'version' as const,
      'create-revision' as const,
      'mod-revision' as const,
      'lease' as const,
    ),
    operator: fc.constantFrom('=' as const, '!=' as const, '<' as const, '>' as const),
    operand: small,
  }),
)
const lease = fc.integer({ min: 1, max: 12 })
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('transact' as const),
      comparisons: fc.array(comparison, { maxLength: 2 }),
      success: operations,
      failure: operations,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('grant-lease' as const),
      ttlMs: fc.integer({ min: 1, max: 9 }),
    }),
  },
  fc.record({ kind: fc.constant('keep-alive' as const), lease }),
  fc.record({ kind: fc.constant('revoke-lease' as const), lease }),
  fc.record({
    kind: fc.constant('expire-leases' as const),
    expiries: fc.array(fc.record({ lease, renewals: fc.nat(1) }), { maxLength: 3 }),
  }),
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('open-session' as const), name: fc.constant('s') }) },
  fc.record({ kind: fc.constant('close-session' as const), session: lease }),
)
const request: fc.Arbitrary<Request> = fc
  .record({
    session: fc.constantFrom(0, 0, 1, 2, 4),
    sequence: fc.integer({ min: 1, max: 6 }),
    back: fc.nat(6),
    command,
  })
  .map(({ session, sequence, back, command: content }) => {
    const oldestPending = Math.max(0, sequence - back)
    return { session, sequence, oldestPending, command: content }
  })

/** The first entries open leases and sessions, so that what follows meets them. */
const OPENING: Command[] = [
  { kind: 'grant-lease', ttlMs: 5 },
  { kind: 'open-session', name: 'x' },
  { kind: 'grant-lease', ttlMs: 7 },
  { kind: 'open-session', name: 'y' },
]

t.test('the store does what the naive store does, also across a snapshot', async () => {
  fc.assert(
    fc.property(fc.array(request, { maxLength: 40 }), fc.nat(40), (requests, cutAt) => {
      const naive = new NaiveStore()
      let driven = new Driven()
      const all = [...OPENING.map(withoutSession), ...requests]
      for (const [at, item] of all.entries()) {
        if (at === cutAt) driven = new Driven(restored(driven.machine))
        const result = driven.request(item)
        const expected = naive.apply(driven.index, item)
        if (JSON.stringify(result) !== JSON.stringify(expected)) {
          throw new Error(
            `${JSON.stringify(item)}: ${JSON.stringify(result)} instead of ${JSON.stringify(expected)}`,
          )
        }
        compare(driven.machine, naive)
      }
    }),
    { numRuns: 1500 },
  )
})

function compare(machine: StateMachine, naive: NaiveStore): void {
  const rows = machine.list({ prefix: '', limit: 100 }).map((row) => {
    const { key, createRevision, modRevision, version, lease: leaseId } = row
    return {
      key,
      value: [...row.value].join(),
      create: createRevision,
      mod: modRevision,
      version,
      lease: leaseId,
    }
  })
  const expected = [...naive.rows].sort((left, right) => (left.key < right.key ? -1 : 1))
  if (JSON.stringify(rows) !== JSON.stringify(expected))
    throw new Error(`${JSON.stringify(rows)} ${JSON.stringify(expected)}`)
  if (JSON.stringify(machine.leases()) !== JSON.stringify(naive.leases)) throw new Error('leases differ')
  const from = machine.compactedRevision + 1
  const events = machine
    .eventsSince(from, 'a', 1000)
    .events.map((event) => `${event.revision} ${event.kind} ${keyOf(event)}`)
  const told = naive.events.filter((event) => event.revision >= from && event.key.startsWith('a'))
  // Within one revision the naive store deletes in another order.
  const text = told.map(({ revision, kind, key: name }) => `${revision} ${kind} ${name}`)
  if (events.sort().join() !== text.sort().join()) throw new Error(`events ${events} instead of ${text}`)
}

t.test(
  'members that applied the same are the same to the byte, whether or not they were restored',
  async () => {
    fc.assert(
      fc.property(fc.array(request, { maxLength: 30 }), fc.nat(30), (requests, cutAt) => {
        const one = new Driven()
        let two = new Driven()
        for (const [at, item] of [...OPENING.map(withoutSession), ...requests].entries()) {
          if (at === cutAt) two = new Driven(restored(two.machine))
          one.request(item)
          two.request(item)
        }
        return snapshotText(one.machine) === snapshotText(two.machine)
      }),
      { numRuns: 500 },
    )
  },
)

t.test('a retry takes effect once and hears the first result', async (t) => {
  const driven = new Driven()
  const opened = driven.run({ kind: 'open-session', name: 'lobby-1@x' })
  t.same(opened, { status: 'session', session: 1 })
  const first: Request = { session: 1, sequence: 1, oldestPending: 1, command: transact(put('n', '1')) }
  const result = driven.request(first)
  t.same(driven.request(first), result)
  t.same(
    driven.request({ ...first, command: transact(put('n', '2')) }),
    result,
    'the sequence counts, not the content',
  )
  t.equal(driven.machine.get('n')?.version, 1)
  driven.request({ session: 1, sequence: 3, oldestPending: 1, command: transact(put('n', '3')) })
  driven.request({ session: 1, sequence: 2, oldestPending: 1, command: transact(put('n', '2')) })
  t.equal(driven.machine.get('n')?.version, 3, 'sequences may arrive in any order')
  driven.request({ session: 1, sequence: 4, oldestPending: 4, command: transact(put('m')) })
  t.same(driven.request(first), { status: 'refused', reason: 'sequence-stale' })
  driven.run({ kind: 'close-session', session: 1 })
  t.same(driven.request(first), { status: 'refused', reason: 'session-unknown' })

  const broken = new Driven(new StateMachine({ mutations: { skipRequestDeduplication: true } }))
  broken.run({ kind: 'open-session', name: 'x' })
  broken.request(first)
  broken.request(first)
  t.equal(broken.machine.get('n')?.version, 2, 'without the table it takes effect twice')
})

t.test('sessions are bounded, forgotten by use, and a forgotten one is never taken for new', async (t) => {
  const limits = { ...STATE_MACHINE_LIMITS, maxSessions: 2, maxResultsPerSession: 3 }
  const driven = new Driven(new StateMachine({ limits }))
  const use = (session: number, sequence: number, oldestPending = 1) =>
    driven.request({ session, sequence, oldestPending, command: transact(put('k')) })
  driven.run({ kind: 'open-session', name: 'one' })
  driven.run({ kind: 'open-session', name: 'two' })
  t.equal(use(1, 1).status, 'done')
  driven.run({ kind: 'open-session', name: 'three' })
  t.same(use(2, 1), { status: 'refused', reason: 'session-unknown' }, 'the one used least recently went')
  t.equal(use(1, 2).status, 'done')
  t.equal(use(1, 3).status, 'done')
  t.same(use(1, 4), { status: 'refused', reason: 'session-full' })
  t.equal(use(1, 4, 2).status, 'done', 'after saying that the first is settled there is room')
})

t.test('leases take their keys with them; an expiry decided before a renewal does nothing', async (t) => {
  const driven = new Driven()
  const granted = driven.run({ kind: 'grant-lease', ttlMs: 5000 })
  t.same(granted, { status: 'lease', lease: 1, ttlMs: 5000 })
  driven.run(transact(put('lock/1', 'x', 1), put('lock/2', 'x', 1), put('free')))
  driven.run({ kind: 'keep-alive', lease: 1 })
  t.match(driven.run({ kind: 'expire-leases', expiries: [{ lease: 1, renewals: 0 }] }), { deleted: 0 })
  t.ok(driven.machine.lease(1))
  driven.run(transact(put('lock/2', 'mine now')))
  t.match(
    driven.run({
      kind: 'expire-leases',
      expiries: [
        { lease: 1, renewals: 1 },
        { lease: 1, renewals: 1 },
      ],
    }),
    { deleted: 1 },
  )
  t.same(
    driven.machine.list({ prefix: '', limit: 9 }).map((row) => row.key),
    ['free', 'lock/2'],
    'a key put again without the lease is no longer its',
  )
  t.same(driven.run(transact(put('k', 'v', 1))), { status: 'refused', reason: 'lease-unknown' })
  t.same(driven.run({ kind: 'keep-alive', lease: 1 }), { status: 'refused', reason: 'lease-unknown' })
})

t.test('the keys of a lease go in one order, however they came to it', async (t) => {
  const driven = new Driven()
  driven.run({ kind: 'grant-lease', ttlMs: 1 })
  driven.run(transact(put('z', 'v', 1), put('a', 'v', 1), put('m', 'v', 1)))
  const copy = new Driven(restored(driven.machine))
  for (const { machine, run } of [driven, copy].map((one) => ({
    machine: one.machine,
    run: () => one.run({ kind: 'revoke-lease', lease: 1 }),
  }))) {
    run()
    t.same(machine.eventsSince(2, '', 9).events.map(keyOf), ['a', 'm', 'z'])
  }
})

t.test('a list is read in pages', async (t) => {
  const driven = new Driven()
  for (const name of ['p', 'p/3', 'p/1', 'q', 'o', 'p/2']) driven.run(transact(put(name)))
  const page = (after?: string) =>
    driven.machine
      .list({ prefix: 'p', limit: 2, ...(after !== undefined && { after }) })
      .map((row) => row.key)
  t.same(page(), ['p', 'p/1'])
  t.same(page('p/1'), ['p/2', 'p/3'])
  t.same(page('p/3'), [])
  t.same(page('a'), ['p', 'p/1'], 'after what lies before the prefix')
  t.same(driven.machine.list({ prefix: '', limit: 0 }), [])
})

t.test('a lock with a fencing token is a transaction', async (t) => {
  const driven = new Driven()
  const acquire = (owner: string): Command => ({
    kind: 'transact',
    comparisons: [{ key: 'lock', target: 'exists', exists: false }],
    success: [put('lock', owner)],
    failure: [],
  })
  const first = driven.run(acquire('a'))
  t.match(first, { succeeded: true, revision: 1 })
  t.match(driven.run(acquire('b')), { succeeded: false, failedComparison: 0, revision: 1 })
  driven.run(transact({ kind: 'delete', key: 'lock' }))
  t.match(driven.run(acquire('b')), { succeeded: true, revision: 3 }, 'tokens only rise')
  t.equal(driven.machine.get('lock')?.createRevision, 3)
})

t.test('a transaction happens as a whole or not at all', async (t) => {
  const limits = {
    ...STATE_MACHINE_LIMITS,
    maxKeys: 3,
    maxStoreBytes: 1000,
    maxDeletedKeys: 2,
    maxKeysPerLease: 2,
    maxLeases: 1,
  }
  const driven = new Driven(new StateMachine({ limits }))
  driven.run(transact(put('a'), put('b'), put('c')))
  t.same(driven.run(transact(put('a', 'changed'), put('d'))), { status: 'refused', reason: 'store-full' })
  t.same(driven.run(transact(put('a', 'x'.repeat(900)))), { status: 'refused', reason: 'store-full' })
  t.same(driven.run(transact({ kind: 'delete-prefix', prefix: '' })), {
    status: 'refused',
    reason: 'too-many-keys',
  })
  driven.run({ kind: 'grant-lease', ttlMs: 1 })
  t.same(driven.run({ kind: 'grant-lease', ttlMs: 1 }), { status: 'refused', reason: 'leases-full' })
  t.same(driven.run(transact(put('a', 'v', 5), put('b', 'v', 5), put('c', 'v', 5))), {
    status: 'refused',
    reason: 'leases-full',
  })
  t.equal(driven.machine.revision, 1)
  t.equal(driven.machine.get('a')?.version, 1)
})

t.test('a malformed entry has the same outcome everywhere: refused, and nothing happens', async (t) => {
  const machine = new StateMachine()
  const junk = [
    undefined,
    null,
    'x',
    [],
    [0],
    [0, 0, 0, [99]],
    [1, 0, 0, [1, 'x']],
    [0, 0, 1, [1, 'x']],
    [0, 0, 0, [1, '']],
    new Map(),
  ]
  for (const [at, data] of junk.entries()) {
    t.same(machine.apply(at + 1, data), { status: 'refused', reason: 'malformed' })
  }
  t.equal(machine.revision, 0)
  t.throws(() => machine.apply(3, []), InvariantViolation, 'an entry is applied once')
})

t.test('what would be refused is refused before it is proposed', async (t) => {
  const bad: Command[] = [
    transact(put('')),
    transact(put('x'.repeat(513))),
    transact(put('\ud800')),
    transact({ kind: 'put', key: 'k', value: new Uint8Array(65_537), lease: 0 }),
    transact(put('twice'), { kind: 'delete', key: 'twice' }),
    transact(...Array.from({ length: 129 }, (_, at) => put(`k${at}`))),
    { kind: 'grant-lease', ttlMs: 0 },
    { kind: 'grant-lease', ttlMs: 24 * 3_600_000 + 1 },
    { kind: 'open-session', name: '' },
  ]
  for (const item of bad) t.throws(() => requestToTuple(withoutSession(item)), InvalidArgumentError)
  t.throws(
    () => requestToTuple({ session: 1, sequence: 0, oldestPending: 0, command: transact() }),
    InvalidArgumentError,
  )
})

t.test('every request comes back as it was, through CBOR', async () => {
  fc.assert(
    fc.property(request, (item) => {
      const back = requestFromTuple(decode(encode(requestToTuple(item))))
      return Buffer.from(encode(requestToTuple(back))).equals(encode(requestToTuple(item)))
    }),
    { numRuns: 1000 },
  )
})

t.test('a watcher sees each change once, in order, or is told that it is too late', async (t) => {
  const limits = { ...STATE_MACHINE_LIMITS, maxHistoryEvents: 10 }
  const driven = new Driven(new StateMachine({ limits }))
  const { machine } = driven
  let next = machine.revision + 1
  const seen: string[] = []
  const poll = (limit: number) => {
    const page = machine.eventsSince(next, 'w/', limit)
    seen.push(...page.events.map((event) => `${event.revision}${keyOf(event)}`))
    next = page.nextRevision
  }
  driven.run(transact(put('w/1'), put('w/2'), put('other')))
  driven.run(transact(put('w/3')))
  poll(1)
  t.same(seen, ['1w/1', '1w/2'], 'a revision is never cut in two')
  poll(10)
  poll(10)
  t.same(seen, ['1w/1', '1w/2', '2w/3'])
  driven.run(transact({ kind: 'delete-prefix', prefix: 'w/' }))
  const [event] = machine.eventsSince(3, 'w/1', 10).events
  t.match(event, { kind: 'delete', previous: { key: 'w/1', modRevision: 1 } })
  for (let at = 0; at < 20; at++) driven.run(transact(put('x')))
  t.throws(() => machine.eventsSince(next, 'w/', 1), RevisionCompactedError)
  t.equal(machine.eventsSince(machine.compactedRevision + 1, '', 100).events.length, 10)
  const fresh = restored(machine)
  t.throws(
    () => fresh.eventsSince(fresh.revision, '', 1),
    RevisionCompactedError,
    'history is not in the snapshot',
  )
  t.same(fresh.eventsSince(fresh.revision + 1, '', 1), { events: [], nextRevision: fresh.revision + 1 })
})

t.test('a snapshot stays what it was while entries are applied, and its damage is noticed', async (t) => {
  const driven = new Driven()
  for (let at = 0; at < 3000; at++) driven.run(transact(put(`key/${at}`, 'value'.repeat(20))))
  driven.run({ kind: 'open-session', name: 's' })
  driven.run({ kind: 'grant-lease', ttlMs: 5 })
  const chunks: unknown[] = []
  for (const chunk of driven.machine.snapshot()) {
    chunks.push(chunk)
    driven.run(transact(put(`late/${chunks.length}`), { kind: 'delete-prefix', prefix: 'key/1' }))
    t.ok(encode(chunk).length < 128 * 1024, 'a chunk is bounded')
  }
  t.ok(chunks.length > 5)
  const restore = (items: readonly unknown[]) => {
    const building = new SnapshotRestore()
    for (const item of items) building.add(item)
    return building.finish()
  }
  const machine = restore(chunks)
  t.equal(machine.keyCount, 3000)
  t.equal(machine.revision, 3000)
  t.same([machine.sessionCount, machine.leases().length, machine.appliedIndex], [1, 1, 3002])
  for (const [at] of chunks.entries()) {
    t.throws(() => restore(chunks.filter((_, other) => other !== at)), FrameError, `without chunk ${at}`)
  }
  t.throws(() => restore([chunks[0], chunks[2], chunks[1], ...chunks.slice(3)]), FrameError, 'chunks swapped')
  t.throws(
    () =>
      restore([
        [0, 2, 0, 0],
        [4, 0, 0, 0],
      ]),
    /version 2/,
    'of another version',
  )
  t.throws(() => restore([...chunks, chunks[1]]), FrameError, 'after the end')
})

t.test('the leader finds leases overdue by the time it is told of', async (t) => {
  const expiry = new LeaseExpiry()
  const one = { id: 1, ttlMs: 1000, renewals: 0 }
  t.same(expiry.elapse(5000, [one], 10), [], 'terms begin when they are first seen')
  t.same(expiry.elapse(600, [one], 10), [])
  t.same(expiry.elapse(600, [{ ...one, renewals: 1 }], 10), [], 'renewed')
  t.same(expiry.elapse(999, [{ ...one, renewals: 1 }], 10), [])
  t.same(expiry.elapse(1, [{ ...one, renewals: 1 }], 10), [{ lease: 1, renewals: 1 }])
  t.same(expiry.elapse(500, [{ ...one, renewals: 1 }], 10), [], 'not again at once')
  t.same(expiry.elapse(600, [{ ...one, renewals: 1 }], 10), [{ lease: 1, renewals: 1 }], 'but again')
  expiry.reset()
  t.same(expiry.elapse(5000, [{ ...one, renewals: 1 }], 10), [], 'a new leader grants full terms')
  const many = Array.from({ length: 5 }, (_, at) => ({ id: at + 1, ttlMs: 10, renewals: 0 }))
  expiry.reset()
  expiry.elapse(0, many, 2)
  t.equal(expiry.elapse(10, many, 2).length, 2, 'bounded')
  t.equal(expiry.elapse(0, many, 9).length, 3, 'the rest comes next')
})

t.test('sorted keys agree with a sorted array', async () => {
  const action = fc.record({
    add: fc.boolean(),
    key: fc.string({ maxLength: 3, unit: fc.constantFrom('a', 'b', 'c', 'd') }),
  })
  fc.assert(
    fc.property(fc.array(action, { maxLength: 200 }), fc.string({ maxLength: 2 }), (actions, from) => {
      const keys = new SortedKeys()
      const naive = new Set<string>()
      for (const { add, key: name } of actions) {
        if (add) keys.add(name)
        else keys.delete(name)
        if (add) naive.add(name)
        else naive.delete(name)
      }
      const expected = [...naive].sort().filter((name) => name >= from)
      return keys.size === naive.size && [...keys.from(from)].join() === expected.join()
    }),
    { numRuns: 300 },
  )
  // Many enough for blocks to split and to vanish.
  const keys = new SortedKeys()
  const names = Array.from({ length: 20_000 }, (_, at) => `${(at * 7919) % 20_000}`)
  for (const name of names) keys.add(name)
  t.same([...keys.from('')], [...names].sort())
  for (const name of names.slice(0, 19_990)) keys.delete(name)
  t.same([...keys.from('')], names.slice(19_990).sort())
})
