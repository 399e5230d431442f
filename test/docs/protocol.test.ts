import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { answerFromTuple, answerToTuple, askFromTuple, askToTuple } from '../../src/audit/messages.js'
import { AuditSessions } from '../../src/audit/sessions.js'
import { type Cell, CellKind, type Delta, type ObjectValue } from '../../src/crdt/cell.js'
import { encodeDelta } from '../../src/crdt/delta-encoder.js'
import { Partition } from '../../src/crdt/partition.js'
import {
  positionsFromTuple,
  positionsRequestFromTuple,
  positionsRequestToTuple,
  positionsToTuple,
} from '../../src/gossip/position-messages.js'
import { decodeBlock, encodeBlock } from '../../src/ledger/codec.js'
import { frameAt, frameOf } from '../../src/ledger/frame.js'
import { encodeFrame } from '../../src/link/frame.js'
import { encodeHello, encodeHelloMessage, type Hello } from '../../src/link/hello.js'
import { helloProof, type Role } from '../../src/link/proof.js'
import { STATE_MACHINE_LIMITS } from '../../src/raft/state-machine/limits.js'
import { encodeMessage } from '../../src/wire/encode.js'
import { MessageType } from '../../src/wire/message-type.js'
import { decodeTuple } from '../../src/wire/safe-cbor.js'
import type { WireTuple, WireValue } from '../../src/wire/wire-value.js'

const ROOT = join(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const PROTOCOL = read('docs/protocol.md')
const VECTORS = JSON.parse(read('docs/protocol-vectors.json'))

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const unhex = (text: string) => Uint8Array.from(Buffer.from(text, 'hex'))

t.test('the message types', async (t) => {
  const shown = [...PROTOCOL.matchAll(/^\| (\d+) \| (\w+) \| (link, journal|link|journal) \| \d+ \|$/gm)]
  t.same(Object.fromEntries(shown.map(([, type, name]) => [name, Number(type)])), MessageType)
  for (const [, type, name, where] of shown)
    t.equal(where !== 'link' && name !== 'delta', Number(type) >= 64, `${name} is where its number says`)
})

t.test('the kinds of cells', async (t) => {
  const section = PROTOCOL.slice(PROTOCOL.indexOf('### Cells'), PROTOCOL.indexOf('### Delta'))
  const shown = [...section.matchAll(/^\| (\d+) \| (\w+) \|/gm)]
  t.same(Object.fromEntries(shown.map(([, kind, name]) => [name, Number(kind)])), CellKind)
})

t.test('the reasons of refusals', async (t) => {
  const declared = /type RefusalReason =(.*?)\n\n/s.exec(read('src/sync/errors.ts'))![1]!
  const reasons = [...declared.matchAll(/\| '([a-z-]+)'/g)].map(([, reason]) => reason!)
  const table = PROTOCOL.slice(PROTOCOL.indexOf('| reason |'), PROTOCOL.indexOf('Backoff:'))
  const shown = [...table.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, reason]) => reason!)
  t.ok(reasons.length > 5)
  t.same(shown.sort(), reasons.sort())
})

t.test('the types of Raft messages', async (t) => {
  const list = /const TYPES = \[(.*?)\]/s.exec(read('src/raft/message-codec.ts'))![1]!
  const types = [...list.matchAll(/'([a-z-]+)'/g)].map(([, type]) => type!)
  const section = PROTOCOL.slice(PROTOCOL.indexOf('## 10. Raft'), PROTOCOL.indexOf('## 11.'))
  const shown = [...section.matchAll(/^\| (\d+) \| ([a-z-]+) \|/gm)]
  t.same(
    shown.map(([, , name]) => name),
    types,
  )
  t.same(
    shown.map(([, number]) => Number(number)),
    types.map((_, position) => position),
  )
})

t.test('lists by position: refusals, change kinds, results', async (t) => {
  const words = (path: string, name: string) =>
    [
      ...new RegExp(`const ${name} = \\[(.*?)\\] as const`, 's')
        .exec(read(path))![1]!
        .matchAll(/^\s*'([a-z-]+)'/gm),
    ].map(([, word]) => word!)
  const refusals = [
    ...words('src/raft/refusals.ts', 'REQUEST_REFUSALS'),
    ...words('src/raft/refusals.ts', 'CHANGE_REFUSALS'),
  ]
  const flat = PROTOCOL.replace(/\s+/g, ' ')
  t.ok(flat.includes(refusals.join(', ')), refusals.join(', '))
  const results = words('src/raft/state-machine/results.ts', 'COMMAND_REFUSALS')
  t.ok(flat.includes(results.join(', ')), results.join(', '))
})

t.test('the limits of the state machine', async (t) => {
  for (const [, name, value] of PROTOCOL.matchAll(/^\| `(max\w+)` \| (\d+) \|$/gm))
    t.equal(Number(value), STATE_MACHINE_LIMITS[name as keyof typeof STATE_MACHINE_LIMITS], name!)
})

t.test('the constants have the values that the code gives them', async (t) => {
  const rows = [...PROTOCOL.matchAll(/^\| `([A-Z_]+)` \| (\d+) \| ([\w/.-]+) \|$/gm)]
  t.ok(rows.length > 30)
  for (const [, name, value, file] of rows) {
    const given = new RegExp(`const ${name}(?:: number)? = ([\\d_* x]+)$`, 'm').exec(read(`src/${file}`))
    if (!t.ok(given, `${name} in ${file}`)) continue
    const product = given![1]!
      .replaceAll('_', '')
      .split('*')
      .reduce((result, factor) => result * Number(factor), 1)
    t.equal(Number(value), product, name!)
  }
})

/** Byte strings in the vectors are { "hex": … }, large integers { "quantity": … }. */
function revive(value: unknown): WireValue {
  if (Array.isArray(value)) return value.map(revive)
  if (typeof value === 'object' && value !== null) return unhex((value as { hex: string }).hex)
  return value as WireValue
}

t.test('vectors: CBOR', async (t) => {
  for (const { value, bytes } of VECTORS.cbor) {
    const tuple = revive(value) as WireTuple
    t.equal(hex(encodeMessage(tuple)), bytes)
    t.same(decodeTuple(unhex(bytes)), tuple)
  }
  for (const { bytes, why } of VECTORS.refused_cbor) t.throws(() => decodeTuple(unhex(bytes)), why)
})

t.test('vectors: hello and proof', async (t) => {
  const { hello, hello_bytes, secret, role, proof, message, ...binding } = VECTORS.hello
  const bytes = encodeHello(hello as Hello)
  t.equal(hex(bytes), hello_bytes)
  const given = {
    handshakeHash: unhex(binding.handshake_hash),
    initiatorPublicKey: unhex(binding.initiator_public_key),
    acceptorPublicKey: unhex(binding.acceptor_public_key),
  }
  const made = helloProof(unhex(secret), role as Role, given, bytes)
  t.equal(hex(made), proof)
  t.equal(hex(encodeHelloMessage({ kind: 'hello', hello: bytes, proof: made })), message)
})

t.test('vectors: frames', async (t) => {
  for (const { messages, frame } of VECTORS.frames) t.equal(hex(encodeFrame(messages.map(unhex))), frame)
})

const quantity = (value: number | string) => (typeof value === 'string' ? BigInt(value) : value)

interface CellVector {
  readonly kind: number
  readonly number: number
  readonly namespace: string
  readonly key: string
  readonly value?: unknown
  readonly deposited?: number | string
  readonly withdrawn?: number | string
  readonly compensated?: number | string
  readonly granted?: readonly (readonly [replica: string, amount: number | string])[]
}

function cellOf({ kind, number, namespace, key, value, ...totals }: CellVector): Cell {
  if (kind !== CellKind.counter) return { kind, number, namespace, key, value: revive(value) as ObjectValue }
  const { deposited = 0, withdrawn = 0, compensated = 0, granted = [] } = totals
  return {
    kind: CellKind.counter,
    number,
    namespace,
    key,
    value: {
      deposited: quantity(deposited),
      withdrawn: quantity(withdrawn),
      compensated: quantity(compensated),
      granted: granted.map(([replica, amount]) => [replica, quantity(amount)]),
    },
  }
}

t.test('vectors: deltas and checksums', async (t) => {
  for (const { delta: given, bytes, checksum } of VECTORS.deltas) {
    const delta: Delta = { ...given, cells: given.cells.map(cellOf) }
    t.equal(hex(encodeDelta(delta)), bytes)
    const partition = new Partition(delta.partition)
    partition.writeAs('other@1')
    t.equal(partition.merge(delta), 'applied')
    t.equal(partition.replica(delta.replica)!.checksum, checksum)
  }
})

t.test('vectors: audits', async (t) => {
  const [{ delta: given }] = VECTORS.deltas
  const partition = new Partition(given.partition)
  partition.writeAs('other@1')
  partition.merge({ ...given, cells: given.cells.map(cellOf) })
  const sessions = new AuditSessions({
    partitions: new Map([[partition.name, partition]]),
    unnumbered: () => [],
    provisional: () => 0,
  })
  sessions.ask('asker', { id: 0, type: 'sums' }, 0)
  while (sessions.work(10));
  for (const [turn, { ask, ask_bytes, answer_bytes }] of VECTORS.audits.entries()) {
    t.equal(hex(encodeMessage(askToTuple(ask))), ask_bytes)
    t.same(askFromTuple(decodeTuple(unhex(ask_bytes))), ask)
    const answers = sessions.ask('asker', ask, 1000 * (turn + 1))
    while (sessions.work(10));
    const [answer] = answers[0]?.type === 'working' ? sessions.ask('asker', ask, 1000 * turn + 1500) : answers
    t.equal(answer && hex(encodeMessage(answerToTuple(answer))), answer_bytes, ask.type)
    if (answer) t.same(answerFromTuple(decodeTuple(unhex(answer_bytes))), answer)
  }
})

t.test('vectors: positions', async (t) => {
  const { request, request_bytes, answers } = VECTORS.positions
  t.equal(hex(encodeMessage(positionsRequestToTuple(request))), request_bytes)
  t.same(positionsRequestFromTuple(decodeTuple(unhex(request_bytes))), request)
  for (const { answer, bytes } of answers) {
    t.equal(hex(encodeMessage(positionsToTuple(answer))), bytes)
    t.same(positionsFromTuple(decodeTuple(unhex(bytes))), answer)
  }
})

t.test('vectors: ledger', async (t) => {
  for (const { entries, frame } of VECTORS.ledger) {
    const given = entries.map((entry: Record<string, unknown>) =>
      entry.type === 'gap' ? entry : { ...entry, code: undefined, amount: BigInt(entry.amount as string) },
    )
    t.equal(hex(frameOf(encodeBlock(given))), frame)
    const found = frameAt(unhex(frame), 0)
    t.same(typeof found === 'object' && decodeBlock(found.payload), given)
  }
})
