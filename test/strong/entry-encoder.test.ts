import fc from 'fast-check'
import t from 'tap'
import { entryToTuple } from '../../src/raft/entry-codec.js'
import { messageFromTuple, messageToTuple } from '../../src/raft/message-codec.js'
import type { Message } from '../../src/raft/messages.js'
import { type Entry, entryOf } from '../../src/raft/types.js'
import { encodeGroupMessage } from '../../src/strong/entry-encoder.js'
import { entriesFromTuple, entriesToRecords } from '../../src/strong/raft-records.js'
import { encodeMessage } from '../../src/wire/encode.js'
import { MessageType } from '../../src/wire/message-type.js'
import { decodeTuple } from '../../src/wire/safe-cbor.js'
import type { WireValue } from '../../src/wire/wire-value.js'

const integer = fc.oneof(fc.nat(30), fc.nat(70_000), fc.integer({ min: 2 ** 31, max: 2 ** 52 }))
const name = fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' })
const data = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ minLength: 250, maxLength: 300 }))
const body = fc.oneof(
  { weight: 20, arbitrary: data.map((data) => ({ kind: 'command' as const, data })) },
  { weight: 1, arbitrary: fc.constant({ kind: 'no-op' as const }) },
  {
    weight: 1,
    arbitrary: fc.constant({
      kind: 'configuration' as const,
      configuration: { voters: ['a', 'b'], learners: ['c'] },
    }),
  },
)
const log = fc
  .record({ first: integer, term: integer, bodies: fc.array(body, { maxLength: 40 }) })
  .map(({ first, term, bodies }) => bodies.map((body, at): Entry => entryOf(body, first + 1 + at, term + 1)))

t.test('appends are the very bytes of their tuples', async (t) => {
  const append = fc.record({ from: name, to: name, previousIndex: integer, commit: integer, entries: log })
  fc.assert(
    fc.property(fc.string(), integer, fc.nat(1), append, (groupId, epoch, relays, fields) => {
      const term = (fields.entries[0]?.term ?? 1) + 1
      const message: Message = { type: 'append', term, previousTerm: 1, ...fields }
      const tuple = [MessageType.raft, groupId, epoch, relays, messageToTuple(message) as WireValue]
      const encoded = encodeGroupMessage({ groupId, epoch }, relays, message)
      t.ok(Buffer.from(encoded).equals(encodeMessage(tuple)))
      const back = messageFromTuple(decodeTuple(encoded)[4])
      if (back.type === 'append') t.equal(back.entries.length, fields.entries.length)
    }),
  )
})

t.test('records of entries are the very bytes of their tuples, cut by size', async (t) => {
  fc.assert(
    fc.property(log, (entries) => {
      const tuples = entries.map(entryToTuple) as WireValue[]
      const records = entriesToRecords(entries)
      t.equal(records.length, Math.min(1, entries.length))
      if (records.length > 0)
        t.ok(Buffer.from(records[0]!).equals(encodeMessage([MessageType.raftEntries, tuples])))
    }),
  )
  const large = Array.from({ length: 7 }, (_, at) =>
    entryOf({ kind: 'command', data: new Uint8Array(50_000).fill(at) }, at + 1, 1),
  )
  const records = entriesToRecords(large)
  t.equal(records.length, 4, 'two each')
  const back = records.flatMap((record) => entriesFromTuple(decodeTuple(record)))
  const [found, wanted] = [back, large].map((list) => list.map((entry) => encodeMessage(entryToTuple(entry))))
  t.ok(Buffer.concat(found!).equals(Buffer.concat(wanted!)))
})
