import { decode, encode } from 'cbor-x'
import fc from 'fast-check'
import t from 'tap'
import {
  entryFromTuple,
  entryToTuple,
  hardStateFromTuple,
  hardStateToTuple,
  snapshotMetadataFromTuple,
  snapshotMetadataToTuple,
} from '../../src/raft/entry-codec.js'
import { messageFromTuple, messageToTuple } from '../../src/raft/message-codec.js'
import type { Message } from '../../src/raft/messages.js'
import { REFUSALS } from '../../src/raft/refusals.js'
import { FrameError } from '../../src/sync/errors.js'

const node = fc.constantFrom('lobby-1@0190a', 'lobby-2@0190b', 'ü@x')
const index = fc.nat()
const positive = fc.integer({ min: 1, max: 2 ** 31 })
const bytes = fc.uint8Array({ maxLength: 40 })
const requestId = fc.string({ minLength: 1, maxLength: 20 })

const configuration = fc
  .tuple(
    fc.uniqueArray(fc.string({ minLength: 1, maxLength: 9, unit: 'grapheme-ascii' }), { maxLength: 6 }),
    fc.nat(6),
  )
  .map(([names, split]) => ({ voters: names.slice(0, split).sort(), learners: names.slice(split).sort() }))

const body = fc.oneof(
  fc.record({ kind: fc.constant('command' as const), data: bytes }),
  fc.record({ kind: fc.constant('no-op' as const) }),
  fc.record({ kind: fc.constant('configuration' as const), configuration }),
)

const snapshot = fc.record({ index, term: index, configuration })

const proposal = fc.oneof(
  fc.record({ kind: fc.constant('command' as const), data: bytes }),
  fc.record({
    kind: fc.constant('change' as const),
    change: fc.record({ kind: fc.constantFrom('add-learner', 'promote', 'demote', 'remove'), node }),
  }),
)

const refused = fc.record({ status: fc.constant('refused' as const), reason: fc.constantFrom(...REFUSALS) })

/** Entries that follow `previousIndex`, with terms that do not fall. */
const append = fc
  .record({
    previousIndex: index,
    previousTerm: fc.nat(9),
    commit: index,
    list: fc.array(fc.tuple(fc.nat(2), body), { maxLength: 5 }),
  })
  .map(({ previousIndex, previousTerm, commit, list }) => {
    let term = Math.max(1, previousTerm)
    const entries = list.map(([step, content], at) => {
      term += step
      return { index: previousIndex + 1 + at, term, ...content }
    })
    return { previousIndex, previousTerm, commit, entries }
  })

const FIELDS: Record<Message['type'], fc.Arbitrary<object>> = {
  'pre-vote': fc.record({ lastIndex: index, lastTerm: index }),
  'pre-vote-response': fc.record({ granted: fc.boolean() }),
  vote: fc.record({ lastIndex: index, lastTerm: index, transfer: fc.boolean() }),
  'vote-response': fc.record({ granted: fc.boolean() }),
  append,
  'append-response': fc.record({ rejected: fc.boolean(), index, hintIndex: index, hintTerm: index }),
  heartbeat: fc.record({ commit: index, readSequence: index }),
  'heartbeat-response': fc.record({ readSequence: index }),
  snapshot: fc.record({ snapshot, offset: index, data: bytes, last: fc.constant(true) }),
  'snapshot-response': fc.record({ snapshotIndex: index, rejected: fc.boolean(), nextOffset: index }),
  'timeout-now': fc.constant({}),
  propose: fc.record({ requestId, proposals: fc.array(proposal, { maxLength: 5 }) }),
  'propose-response': fc.record({
    requestId,
    answers: fc.array(
      fc.oneof(
        refused,
        fc.record({ status: fc.constant('accepted' as const), index: positive, term: positive }),
      ),
      { maxLength: 5 },
    ),
  }),
  read: fc.record({ requestId }),
  'read-response': fc.record({
    requestId,
    answer: fc.oneof(refused, fc.record({ status: fc.constant('confirmed' as const), index })),
  }),
  transfer: fc.record({ target: node }),
  commit: fc.record({ commit: index }),
}

const TERMLESS = ['propose', 'propose-response', 'read', 'read-response', 'transfer']

const message = fc.oneof(
  ...Object.entries(FIELDS).map(([type, fields]) =>
    fc.tuple(node, node, positive, fields).map(([from, to, term, rest]) => {
      return { type, from, to, term: TERMLESS.includes(type) ? 0 : term, ...rest } as Message
    }),
  ),
)

/** Through real bytes; cbor-x gives Buffers back, which compare as what they hold. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, field) => (ArrayBuffer.isView(field) ? [...(field as Uint8Array)] : field)),
  )
}

t.test('every message comes back as it was, through CBOR', async (t) => {
  const seen = new Set<string>()
  fc.assert(
    fc.property(message, (original) => {
      seen.add(original.type)
      const back = messageFromTuple(decode(encode(messageToTuple(original))))
      return JSON.stringify(plain(back)) === JSON.stringify(plain({ ...back, ...original }))
    }),
    { numRuns: 3000 },
  )
  t.equal(seen.size, Object.keys(FIELDS).length, 'all kinds were tried')
})

type Tree = unknown[]

/** Every place in a nested tuple. */
function places(tree: Tree, path: number[] = []): number[][] {
  return tree.flatMap((value, at) => {
    const here = [...path, at]
    return Array.isArray(value) ? [here, ...places(value, here)] : [here]
  })
}

const JUNK = [
  null,
  -1,
  1.5,
  2 ** 60,
  Number.NaN,
  '',
  'x'.repeat(5000),
  true,
  [],
  [[]],
  {},
  undefined,
  new Uint8Array(3),
  7n,
]

t.test('a damaged message is a FrameError or another valid message, never anything else', async (t) => {
  let refusedCount = 0
  fc.assert(
    fc.property(message, fc.nat(), fc.nat(), fc.nat(2), (original, placeSeed, junkSeed, manner) => {
      const tuple = structuredClone(messageToTuple(original)) as unknown as Tree
      const all = places(tuple)
      const path = all[placeSeed % all.length]!
      let parent = tuple
      for (const at of path.slice(0, -1)) parent = parent[at] as Tree
      const last = path.at(-1)!
      if (manner === 0) parent[last] = JUNK[junkSeed % JUNK.length]
      else if (manner === 1) parent.splice(last, 1)
      else parent.splice(last, 0, JUNK[junkSeed % JUNK.length])
      try {
        messageToTuple(messageFromTuple(tuple))
      } catch (error) {
        if (!(error instanceof FrameError)) throw error
        refusedCount += 1
      }
    }),
    { numRuns: 5000 },
  )
  t.ok(refusedCount > 3000, `${refusedCount} of 5000 were refused`)
})

t.test('what is not even a tuple is refused', async (t) => {
  for (const junk of [
    ...JUNK,
    'message',
    [99, 'a', 'b', 1],
    [4.5],
    [0, 'a', 'b', 0, 1, 1],
    [13, 'a', 'b', 1, 'id'],
  ]) {
    t.throws(() => messageFromTuple(junk), FrameError)
  }
  t.throws(
    () => messageFromTuple([4, 'a', 'b', 5, 1, 3, 0, [[2, 1]]]),
    FrameError,
    'a term falls along the log',
  )
  t.throws(
    () => messageFromTuple([8, 'a', 'b', 5, [1, 1, [[], []]], 0, new Uint8Array(), false]),
    FrameError,
    'empty piece',
  )
  t.throws(() => snapshotMetadataFromTuple([1, 1, [['b', 'a'], []]]), FrameError, 'members out of order')
  t.throws(() => snapshotMetadataFromTuple([1, 1, [['a', 'a'], []]]), FrameError, 'a voter twice')
  t.throws(() => snapshotMetadataFromTuple([1, 1, [['a'], ['a']]]), FrameError, 'a member twice')
})

t.test('what goes to disk comes back', async () => {
  const entry = fc
    .tuple(positive, positive, body)
    .map(([at, term, content]) => ({ index: at, term, ...content }))
  const hardState = fc.record({ term: index, vote: fc.option(node, { nil: undefined }), commit: index })
  fc.assert(
    fc.property(entry, hardState, snapshot, (oneEntry, state, metadata) => {
      const same = (left: unknown, right: unknown) =>
        JSON.stringify(plain(left)) === JSON.stringify(plain(right))
      return (
        same(entryFromTuple(decode(encode(entryToTuple(oneEntry)))), oneEntry) &&
        same(hardStateFromTuple(decode(encode(hardStateToTuple(state)))), state) &&
        same(snapshotMetadataFromTuple(decode(encode(snapshotMetadataToTuple(metadata)))), metadata)
      )
    }),
    { numRuns: 1000 },
  )
})
