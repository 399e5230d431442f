import fc from 'fast-check'
import t from 'tap'
import { type Anchor, decodeAnchor } from '../../src/registry/anchor.js'
import type { NewAnchor } from '../../src/registry/anchors.js'
import type { EntityChange } from '../../src/registry/feed.js'
import { matchesItem } from '../../src/registry/item-patterns.js'
import { ANCHOR_PREFIX, TRANSFER_PREFIX } from '../../src/registry/keys.js'
import { decodeTransfer } from '../../src/registry/transfer.js'
import type { NewTransfer } from '../../src/registry/transfers.js'
import { MAX_CHANGES_WAITING } from '../../src/registry/watch-stream.js'
import {
  ConflictError,
  InvalidArgumentError,
  NoQuorumError,
  NotFoundError,
  OutcomeUnknownError,
  OverloadedError,
} from '../../src/sync/errors.js'
import type { SyncEvent } from '../../src/sync/event.js'
import type { Fault } from '../strong/memory-store.js'
import { RegistryMesh, type RegistryServer } from './mesh.js'

const at = (x: number, world = 'minecraft:overworld', storage = 'vault'): NewAnchor => ({
  storage,
  world,
  position: { x, y: 64, z: -1 },
})

const uuid = (number: number) => `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`

/** What must hold in the store whatever happened. */
function brokenRules({ group }: RegistryMesh): string[] {
  const broken: string[] = []
  const keys = new Set(group.machine.list({ prefix: '', limit: 1_000_000 }).map(({ key }) => key))
  const text = (key: string) => new TextDecoder().decode(group.machine.get(key)!.value)
  const parts = (key: string) => key.split('/')
  for (const key of keys) {
    const [kind, first, last] = parts(key)
    if (kind === 'anchor-at' && !keys.has(ANCHOR_PREFIX + text(key))) broken.push(`${key} has no anchor`)
    if (kind === 'anchor-in' && !keys.has(ANCHOR_PREFIX + last)) broken.push(`${key} has no anchor`)
    if (kind === 'anchor-links' && !keys.has(ANCHOR_PREFIX + first)) broken.push(`${key} has no anchor`)
    if (kind === 'transfer-at' && !keys.has(ANCHOR_PREFIX + first)) broken.push(`${key} has no anchor`)
    if (kind === 'transfer-at' && !keys.has(TRANSFER_PREFIX + last)) broken.push(`${key} has no transfer`)
    if (kind === 'transfer-owner' && !keys.has(TRANSFER_PREFIX + first)) broken.push(`${key} has no transfer`)
  }
  const count = (prefix: string) => [...keys].filter((key) => key.startsWith(prefix)).length
  if (count('anchor-at/') !== count(ANCHOR_PREFIX)) broken.push('not one position for each anchor')
  if (count('anchor-in/') !== count(ANCHOR_PREFIX)) broken.push('not one storage for each anchor')
  if (count('transfer-at/') !== 2 * count(TRANSFER_PREFIX)) broken.push('not two ends for each transfer')
  return broken
}

t.test('anchors: create, read, change, delete', async (t) => {
  const mesh = new RegistryMesh()
  const [a, b] = [mesh.server('a'), mesh.server('b')]
  const anchor = await mesh.settle(
    a.anchors.create({ ...at(1), metadata: { name: 'main', ä: 1.5, open: true, __proto__x: -0 } }),
  )
  t.match(anchor.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
  t.same(anchor.createdBy, 'a')
  await mesh.pass(50)
  t.same(await b.anchors.get(anchor.id), anchor, 'as it was returned')
  t.equal((await b.anchors.get(uuid(1))) === undefined, true)
  await t.rejects(mesh.settle(b.anchors.create(at(1))), ConflictError, 'the position is taken')
  const moved = await mesh.settle(
    b.anchors.update(
      anchor.id,
      { position: { x: 2, y: 0, z: 0 }, storage: 'a/b' },
      { expectedVersion: anchor.version },
    ),
  )
  t.ok(moved.version > anchor.version)
  t.same([moved.createdBy, moved.updatedBy, moved.metadata.name], ['a', 'b', 'main'])
  await t.rejects(
    mesh.settle(a.anchors.update(anchor.id, { metadata: {} }, { expectedVersion: anchor.version })),
    ConflictError,
  )
  const other = await mesh.settle(a.anchors.create(at(1)), 5_000)
  await t.rejects(mesh.settle(a.anchors.update(other.id, { position: moved.position })), ConflictError)
  t.same(brokenRules(mesh), [])
  await t.rejects(mesh.settle(a.anchors.delete(other.id, { expectedVersion: 1 })), ConflictError)
  await mesh.settle(a.anchors.delete(other.id))
  await mesh.settle(b.anchors.delete(moved.id))
  await t.rejects(mesh.settle(a.anchors.delete(other.id)), NotFoundError)
  await t.rejects(mesh.settle(a.anchors.update(other.id, { metadata: {} })), NotFoundError)
  t.same(mesh.keys('anchor'), [])
  t.same(mesh.keys(ANCHOR_PREFIX), [])
})

t.test('anchors by world, storage and position, from an index each, in pages', async (t) => {
  const mesh = new RegistryMesh()
  const a = mesh.server('a')
  const made: Anchor[] = []
  for (const [x, world, storage] of [
    [1, 'w', 's'],
    [2, 'w', 's/1'],
    [3, 'w/1', 's'],
    [4, 'w:1', 's%2F1'.replace('%2F', ':')],
    [5, 'w', 's'],
  ] as const) {
    made.push(await mesh.settle(a.anchors.create(at(x, world, storage))))
  }
  const found = async (filter: object) => {
    const { entries } = await a.anchors.list(filter)
    return entries.map(({ position }) => position.x).sort()
  }
  a.store.listed.length = 0
  t.same(await found({ world: 'w' }), [1, 2, 5])
  t.same(await found({ world: 'w/1' }), [3])
  t.same(await found({ storage: 's' }), [1, 3, 5])
  t.same(await found({ storage: 's', world: 'w' }), [1, 5])
  t.same(await found({ world: 'w', position: at(2).position }), [2])
  t.same(await found({ world: 'w', storage: 's', position: at(2).position }), [])
  t.same(a.store.listed, ['anchor-at/w/', 'anchor-at/w%2F1/', 'anchor-in/s/', 'anchor-in/s/'])
  t.same(await found({}), [1, 2, 3, 4, 5])
  const pages: number[][] = []
  let after: string | undefined
  do {
    const page = await a.anchors.list({ limit: 2, ...(after !== undefined && { after }) })
    pages.push(page.entries.map(({ position }) => position.x))
    t.equal(page.revision, a.anchors.revision)
    after = page.next
  } while (after !== undefined)
  t.same(
    pages.map(({ length }) => length),
    [2, 2, 1],
  )
  t.same(pages.flat().sort(), [1, 2, 3, 4, 5])
  a.store.keysRead = 0
  await a.anchors.list({ limit: 1 })
  t.equal(a.store.keysRead, 2, 'a page costs what it shows, and a look at whether more follows')
  await t.rejects(a.anchors.list({ position: at(1).position }), InvalidArgumentError)
  await t.rejects(a.anchors.list({ limit: 0 }), InvalidArgumentError)
  await t.rejects(a.anchors.list({ wrld: 'w' } as object), InvalidArgumentError)
})

t.test('what breaks a rule is refused before anything is sent', async (t) => {
  const mesh = new RegistryMesh()
  const a = mesh.server('a')
  const before = mesh.group.log.length
  const deep = { a: { b: 1 } } as unknown as NewAnchor['metadata'] & object
  for (const bad of [
    { ...at(1), storage: '' },
    { ...at(1), world: '\u0000' },
    { ...at(1.5) },
    { ...at(2 ** 31) },
    { ...at(Number.NaN) },
    { ...at(1), id: 'not-a-uuid' },
    { ...at(1), extra: 1 },
    { ...at(1), metadata: deep },
    { ...at(1), metadata: { a: Number.POSITIVE_INFINITY } },
    { ...at(1), metadata: { a: 2 ** 60 } },
    { ...at(1), metadata: { a: '\ud800' } },
    { ...at(1), metadata: { a: 'x'.repeat(1025) } },
    { ...at(1), metadata: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`k${i}`, 1])) },
    {
      ...at(1),
      metadata: Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`k${i}`, 'x'.repeat(1000)])),
    },
  ]) {
    await t.rejects(
      a.anchors.create(bad as NewAnchor),
      InvalidArgumentError,
      JSON.stringify(bad).slice(0, 80),
    )
  }
  const fine = { from: uuid(1), to: uuid(2), items: ['minecraft:stone'] }
  for (const bad of [
    { ...fine, to: uuid(1) },
    { ...fine, items: [] },
    { ...fine, items: ['stone'] },
    { ...fine, items: ['mine craft:*'] },
    { ...fine, items: [5] },
    { ...fine, rate: 0 },
    { ...fine, rate: 1.5 },
    { ...fine, enabled: 'yes' },
  ]) {
    await t.rejects(a.transfers.create(bad as NewTransfer), InvalidArgumentError, JSON.stringify(bad))
  }
  t.equal(mesh.group.log.length, before)
})

t.test('items: keys, and patterns of ids', async (t) => {
  t.ok(matchesItem(['minecraft:stone'], 'minecraft:stone'))
  t.notOk(matchesItem(['minecraft:stone'], 'minecraft:stone{damage:1}'))
  t.ok(matchesItem(['minecraft:*_ore', 'x:y'], 'minecraft:deepslate_iron_ore'))
  t.ok(matchesItem(['minecraft:*'], 'minecraft:sword{name:"*"}'))
  t.ok(matchesItem(['*'], 'mod:anything'))
  t.notOk(matchesItem(['a*a'], 'a'))
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('a', 'b', '*'), { maxLength: 8 }),
      fc.array(fc.constantFrom('a', 'b'), { maxLength: 8 }),
      (pattern, id) => {
        const given = `${pattern.join('')}*`
        const expected = new RegExp(`^${given.replaceAll('*', '.*')}$`).test(id.join(''))
        return matchesItem([given], id.join('')) === expected
      },
    ),
  )
})

t.test('two servers at one position: one of them gets it', async (t) => {
  const mesh = new RegistryMesh()
  const servers = [mesh.server('a'), mesh.server('b'), mesh.server('c')]
  const results = await mesh.settle(Promise.allSettled(servers.map((server) => server.anchors.create(at(1)))))
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const result of results) if (result.status === 'rejected') t.type(result.reason, ConflictError)
  t.same(brokenRules(mesh), [])
})

t.test('a transfer needs its anchors, and anchors their transfers', async (t) => {
  const mesh = new RegistryMesh()
  const [a, b] = [mesh.server('a'), mesh.server('b')]
  const [from, to] = [await mesh.settle(a.anchors.create(at(1))), await mesh.settle(a.anchors.create(at(2)))]
  const items = ['minecraft:stone', 'minecraft:*_ore', 'minecraft:stone']
  await t.rejects(mesh.settle(b.transfers.create({ from: from.id, to: uuid(9), items })), NotFoundError)
  const transfer = await mesh.settle(b.transfers.create({ from: from.id, to: to.id, items }))
  t.same(transfer.items, ['minecraft:*_ore', 'minecraft:stone'])
  await mesh.pass(50)
  t.same(await a.transfers.get(transfer.id), transfer)
  t.same((await a.transfers.list({ anchor: to.id })).entries, [transfer])
  t.same((await a.transfers.list()).entries, [transfer])
  await t.rejects(mesh.settle(a.anchors.delete(to.id)), {
    code: 'CONFLICT',
    message: new RegExp(transfer.id),
  })
  const changed = await mesh.settle(a.transfers.update(transfer.id, { rate: 5, enabled: false }))
  t.same([changed.rate, changed.enabled, changed.items], [5, false, transfer.items])
  await t.rejects(
    mesh.settle(b.transfers.update(transfer.id, { rate: 6 }, { expectedVersion: transfer.version })),
    ConflictError,
  )
  await mesh.settle(b.transfers.delete(transfer.id, { expectedVersion: changed.version }))
  await t.rejects(mesh.settle(b.transfers.delete(transfer.id)), NotFoundError)
  await mesh.settle(a.anchors.delete(to.id))
  t.same(brokenRules(mesh), [])
})

t.test('cascade takes any number of transfers along', async (t) => {
  const mesh = new RegistryMesh()
  const a = mesh.server('a')
  const hub = await mesh.settle(a.anchors.create(at(0)))
  const others = await mesh.settle(Promise.all([1, 2, 3].map((x) => a.anchors.create(at(x)))))
  await mesh.settle(
    Promise.all(
      Array.from({ length: 45 }, (_, i) =>
        a.transfers.create({ from: hub.id, to: others[i % 3]!.id, items: ['minecraft:*'] }),
      ),
    ),
  )
  await t.rejects(mesh.settle(a.anchors.delete(hub.id)), /45 transfers: .* and 35 more/)
  await mesh.settle(a.anchors.delete(hub.id, { cascade: true }))
  t.same(mesh.keys(TRANSFER_PREFIX), [])
  t.equal(mesh.keys(ANCHOR_PREFIX).length, 3)
  t.same(brokenRules(mesh), [])
})

t.test('creation beside deletion: never a transfer without its anchors', async (t) => {
  let both = 0
  await fc.assert(
    fc.asyncProperty(fc.nat(100), fc.nat(60), fc.boolean(), async (seed, startMs, cascade) => {
      const mesh = new RegistryMesh()
      for (let i = 0; i < seed; i++) mesh.world.uniform()
      const [a, b] = [mesh.server('a'), mesh.server('b')]
      const [from, to] = [
        await mesh.settle(a.anchors.create(at(1))),
        await mesh.settle(a.anchors.create(at(2))),
      ]
      await mesh.pass(100)
      mesh.group.delayMs = () => 1 + mesh.world.uniform() * 40
      const creation = a.transfers.create({ from: from.id, to: to.id, items: ['*'] })
      creation.catch(() => undefined)
      await mesh.pass(startMs)
      const deletion = b.anchors.delete(to.id, { cascade })
      const [created, deleted] = await mesh.settle(Promise.allSettled([creation, deletion]))
      if (created.status === 'fulfilled' && deleted.status === 'fulfilled') both += 1
      const broken = brokenRules(mesh)
      if (broken.length > 0) throw new Error(broken.join())
      if (deleted.status === 'fulfilled' && mesh.keys(TRANSFER_PREFIX).length > 0) throw new Error('left')
      if (!cascade && created.status === deleted.status) throw new Error(`both ${created.status}`)
    }),
    { numRuns: 60 },
  )
  t.ok(both > 0, 'creation, then deletion in cascade, was among them')
})

t.test('unknown outcomes: a retry with the same id makes one anchor, and one transfer', async (t) => {
  for (const fault of ['unknown-done', 'unknown-lost', 'unknown-late'] as const) {
    const mesh = new RegistryMesh()
    const [a, b] = [mesh.server('a'), mesh.server('b')]
    mesh.group.fault = () => fault
    const id = uuid(7)
    await t.rejects(mesh.settle(a.anchors.create({ ...at(1), id })), OutcomeUnknownError)
    await t.rejects(mesh.settle(a.anchors.create(at(2))), /anchor [0-9a-f-]{36}/, 'names the id')
    mesh.group.fault = () => 'none'
    const anchor = await mesh.settle(a.anchors.create({ ...at(1), id }))
    t.equal(anchor.id, id)
    await mesh.pass(2_000)
    t.same(await mesh.settle(b.anchors.create({ ...at(1), id })), anchor, fault)
    await t.rejects(mesh.settle(b.anchors.create({ ...at(3), id })), ConflictError)
    const { id: to } = await mesh.settle(a.anchors.create(at(4)))
    const link = { id: uuid(8), from: id, to, items: ['minecraft:*'] }
    mesh.group.fault = () => fault
    await t.rejects(mesh.settle(a.transfers.create(link)), OutcomeUnknownError)
    mesh.group.fault = () => 'none'
    const transfer = await mesh.settle(a.transfers.create(link))
    await mesh.pass(2_000)
    t.same(await mesh.settle(b.transfers.create(link)), transfer, fault)
    t.same((await mesh.settle(b.transfers.list({ linearizable: true }))).entries, [transfer])
    await t.rejects(mesh.settle(b.transfers.create({ ...link, rate: 1 })), ConflictError)
    t.same(brokenRules(mesh), [])
  }
})

t.test('cut off: local reads go on, everything else says so', async (t) => {
  const mesh = new RegistryMesh()
  const [a, b] = [mesh.server('a'), mesh.server('b')]
  const anchor = await mesh.settle(a.anchors.create(at(1)))
  await mesh.pass(50)
  b.store.cut = true
  await mesh.settle(a.anchors.delete(anchor.id))
  t.same(await b.anchors.get(anchor.id), anchor, 'stale, at the revision that it says')
  t.ok(b.anchors.revision < a.anchors.revision)
  await t.rejects(mesh.settle(b.anchors.get(anchor.id, { linearizable: true })), NoQuorumError)
  await t.rejects(mesh.settle(b.anchors.create(at(5))), NoQuorumError)
  await t.rejects(mesh.settle(b.anchors.create(at(1), { timeoutMs: 300 })), NoQuorumError, 'no stale refusal')
  b.store.cut = false
  t.equal((await mesh.settle(b.anchors.get(anchor.id, { linearizable: true }))) === undefined, true)
  t.equal((await mesh.settle(b.anchors.create(at(1)))).position.x, 1, 'a stale view does not refuse')
})

t.test('watching: in order, bounded, ended by a signal', async (t) => {
  const mesh = new RegistryMesh()
  const a = mesh.server('a')
  const abort = new AbortController()
  const seen: EntityChange<Anchor>[] = []
  const reading = (async () => {
    for await (const change of a.anchors.watch({ signal: abort.signal })) seen.push(change)
  })()
  const anchor = await mesh.settle(a.anchors.create(at(1)))
  await mesh.settle(a.anchors.update(anchor.id, { metadata: { n: 1 } }))
  await mesh.settle(a.anchors.delete(anchor.id))
  await mesh.pass(50)
  abort.abort()
  await reading
  t.same(
    seen.map(({ kind }) => kind),
    ['created', 'updated', 'deleted'],
  )
  t.same(seen[2]!.entity.metadata, { n: 1 })
  const slow = a.anchors.watch()
  const id = anchor.id
  for (let i = 0; i <= MAX_CHANGES_WAITING / 2; i++) {
    mesh.group.append({
      kind: 'transact',
      comparisons: [],
      success: [{ kind: 'put', key: ANCHOR_PREFIX + id, value: new Uint8Array(0), lease: 0 }],
      failure: [],
    })
  }
  a.store.catchUp(mesh.group.log.length)
  t.equal(await Promise.race([slow.next(), 'nothing']), 'nothing', 'what cannot be read is no change')
  await slow.return!()
  await a.stop()
  t.same(await a.anchors.watch().next(), { done: true, value: undefined })
})

t.test('a reader that is too slow is told', async (t) => {
  const { WatchStream } = await import('../../src/registry/watch-stream.js')
  const stream = new WatchStream<number>(() => undefined, undefined)
  for (let i = 0; i <= MAX_CHANGES_WAITING; i++) stream.push(i)
  for (let i = 0; i < MAX_CHANGES_WAITING; i++) if ((await stream.next()).value !== i) t.fail('order')
  await t.rejects(stream.next(), OverloadedError)
})

/** Follows events as a subscriber does that drops those it has had: what exists, by id. */
class Follower {
  readonly entities = new Map<string, { version: number }>()
  private readonly had = new Set<string>()

  take(events: Iterable<SyncEvent>): this {
    for (const { eventId, type, entityId, payload } of events) {
      if (this.had.has(eventId)) continue
      this.had.add(eventId)
      if (type === 'ANCHOR_DELETED' || type === 'TRANSFER_DELETED') this.entities.delete(entityId)
      else
        this.entities.set(
          entityId,
          type.startsWith('ANCHOR') ? decodeAnchor(payload) : decodeTransfer(payload),
        )
    }
    return this
  }
}

t.test("events: the plan's types, and origin and time of the writer", async (t) => {
  const mesh = new RegistryMesh()
  const [a, b] = [mesh.server('a'), mesh.server('b')]
  const from = await mesh.settle(a.anchors.create(at(1)))
  const to = await mesh.settle(a.anchors.create(at(2)))
  const transfer = await mesh.settle(a.transfers.create({ from: from.id, to: to.id, items: ['*'] }))
  await mesh.settle(b.transfers.update(transfer.id, { rate: 2 }))
  await mesh.settle(b.anchors.update(from.id, { metadata: { n: 1 } }))
  await mesh.settle(b.anchors.delete(from.id, { cascade: true }))
  await mesh.pass(100)
  t.same(
    a.events.map(({ type, origin }) => `${type} ${origin}`),
    [
      'ANCHOR_CREATED a',
      'ANCHOR_CREATED a',
      'TRANSFER_CREATED a',
      'TRANSFER_UPDATED b',
      'ANCHOR_DELETED b',
      'ANCHOR_CREATED b',
      'TRANSFER_DELETED b',
      'ANCHOR_DELETED b',
    ],
  )
  t.same(a.events, b.events)
  t.equal(new Set(a.events.map(({ eventId }) => eventId)).size, a.events.length)
  for (const { eventId } of a.events) t.match(eventId, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab]/)
  t.same(decodeAnchor(a.events[0]!.payload), from)
  t.same(decodeTransfer(a.events[2]!.payload), transfer)
  t.ok(a.events.every(({ timestampMs }) => timestampMs > 1_700_000_000_000))
})

t.test('events after a snapshot: the difference, under the ids that it has elsewhere', async (t) => {
  const mesh = new RegistryMesh()
  const [a, b] = [mesh.server('a'), mesh.server('b')]
  const [from, to] = [await mesh.settle(a.anchors.create(at(1))), await mesh.settle(a.anchors.create(at(2)))]
  const input = { from: from.id, to: to.id, items: ['*'] }
  const gone = await mesh.settle(a.transfers.create({ ...input, id: uuid(1) }))
  const kept = await mesh.settle(a.transfers.create({ ...input, id: uuid(2) }))
  await mesh.pass(50)
  b.store.cut = true
  const before = b.events.length
  const made = await mesh.settle(a.transfers.create({ ...input, id: uuid(3) }))
  for (const id of [made.id, kept.id, gone.id]) await mesh.settle(a.transfers.update(id, { rate: 2 }))
  await mesh.settle(a.transfers.delete(gone.id))
  await mesh.settle(a.transfers.delete(kept.id))
  await mesh.settle(a.transfers.create({ ...input, id: kept.id, rate: 3 }))
  await mesh.settle(a.anchors.update(to.id, { metadata: { n: 1 } }))
  await mesh.settle(a.anchors.update(to.id, { metadata: { n: 2 } }))
  b.store.heal('snapshot')
  await mesh.pass(50)
  const told = b.events.slice(before)
  t.same(told.map(({ type, entityId }) => `${type} ${entityId === to.id ? 'to' : entityId.at(-1)}`).sort(), [
    'ANCHOR_CREATED to',
    'ANCHOR_DELETED to',
    'TRANSFER_CREATED 2',
    'TRANSFER_CREATED 3',
    'TRANSFER_DELETED 1',
    'TRANSFER_DELETED 2',
    'TRANSFER_UPDATED 3',
  ])
  const elsewhere = new Map(a.events.map(({ eventId, type, entityId }) => [eventId, type + entityId]))
  for (const { eventId, type, entityId } of told) t.equal(elsewhere.get(eventId), type + entityId)
  // One that had the creation from another server still learns of the change.
  const follower = new Follower().take(a.events.slice(0, before + 1)).take(told)
  t.same(follower.entities, new Follower().take(a.events).entities)
})

const FAULTS: readonly Fault[] = ['none', 'none', 'refused', 'unknown-done', 'unknown-lost', 'unknown-late']

t.test('random histories: rules hold, events lead to what is there, on every server', async (t) => {
  const step = fc.record({
    server: fc.nat(2),
    kind: fc.constantFrom('create', 'create', 'move', 'delete', 'link', 'link', 'change', 'unlink'),
    which: fc.nat(3),
    place: fc.nat(3),
    gapMs: fc.nat(60),
    disturb: fc.constantFrom('none', 'none', 'none', 'cut', 'entries', 'snapshot'),
    fault: fc.constantFrom(...FAULTS),
  })
  let reset = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
      const mesh = new RegistryMesh()
      const servers = ['a', 'b', 'c'].map((name) => mesh.server(name))
      mesh.group.delayMs = () => 1 + mesh.world.uniform() * 30
      const errors: unknown[] = []
      for (const { server, kind, which, place, gapMs, disturb, fault } of steps) {
        const { store } = servers[server]!
        if (disturb === 'cut') store.cut = true
        else if (disturb !== 'none' && store.cut) {
          store.heal(disturb)
          if (disturb === 'snapshot') reset += 1
        }
        mesh.group.fault = () => (mesh.world.uniform() < 0.3 ? fault : 'none')
        act(servers[server]!, kind, which, place).catch((error: unknown) => errors.push(error))
        await mesh.pass(gapMs)
      }
      mesh.group.fault = () => 'none'
      for (const [i, { store }] of servers.entries()) store.heal(i === 0 ? 'snapshot' : 'entries')
      await mesh.pass(15_000)
      for (const error of errors) if ((error as { code?: string }).code === undefined) throw error
      const broken = brokenRules(mesh)
      const truth = [...mesh.keys(ANCHOR_PREFIX), ...mesh.keys(TRANSFER_PREFIX)]
        .map((key) => `${key.split('/')[2]} ${mesh.group.machine.get(key)!.modRevision}`)
        .sort()
      const view = (follower: Follower) =>
        [...follower.entities].map(([id, { version }]) => `${id} ${version}`).sort()
      for (const { events, serverId } of servers) {
        if (String(view(new Follower().take(events))) !== String(truth))
          broken.push(`${serverId} follows wrongly`)
      }
      // Whichever server's events come first, and however often.
      const ids = new Map<string, string>()
      for (const { events } of servers) {
        for (const { eventId, type, entityId } of events) {
          if ((ids.get(eventId) ?? type + entityId) !== type + entityId)
            broken.push(`${eventId} means two things`)
          ids.set(eventId, type + entityId)
        }
      }
      const complete = new Set(
        servers.filter(({ store }) => store.jumps === 0)[0]?.events.map(({ eventId }) => eventId),
      )
      if (complete.size > 0) {
        for (const eventId of ids.keys())
          if (!complete.has(eventId)) broken.push(`${eventId} is known to one only`)
      }
      if (broken.length > 0) throw new Error(broken.join('; '))
    }),
    { numRuns: 60, endOnFailure: true },
  )
  t.ok(reset > 0)
})

function act(
  { anchors, transfers }: RegistryServer,
  kind: string,
  which: number,
  place: number,
): Promise<unknown> {
  const anchor = uuid(which)
  const options = { timeoutMs: 2_000 }
  const items = [`minecraft:item_${place}`]
  switch (kind) {
    case 'create':
      return anchors.create({ ...at(place), id: anchor }, options)
    case 'move':
      return anchors.update(anchor, { position: at(place).position, storage: `s${place}` }, options)
    case 'delete':
      return anchors.delete(anchor, { ...options, cascade: place > 1 })
    case 'link':
      return transfers.create(
        { id: uuid(100 + which), from: anchor, to: uuid((which + 1) % 4), items },
        options,
      )
    case 'change':
      return transfers.update(uuid(100 + which), { rate: place + 1 }, options)
    default:
      return transfers.delete(uuid(100 + which), options)
  }
}
