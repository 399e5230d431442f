import fc from 'fast-check'
import t from 'tap'
import type { SnapshotWriter } from '../../src/journal/journal.js'
import { DiskError, DiskFullError, NotRunningError, SiloMeshError } from '../../src/sync/errors.js'
import type { Fault } from './fake-disk.js'
import { World } from './world.js'

type Command =
  | { readonly kind: 'append'; readonly sizes: readonly number[] }
  | { readonly kind: 'turns'; readonly count: number }
  | { readonly kind: 'settle' }
  | { readonly kind: 'snapshot'; readonly commit: boolean }
  | { readonly kind: 'fault'; readonly after: number; readonly calls: number; readonly fault: Fault }
  | { readonly kind: 'crash'; readonly power: boolean }
  | { readonly kind: 'close' }

const size = fc.oneof(
  { weight: 30, arbitrary: fc.integer({ min: 0, max: 40 }) },
  { weight: 1, arbitrary: fc.integer({ min: 100_000, max: 300_000 }) },
)
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('append'), sizes: fc.array(size, { maxLength: 4 }) }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('turns'), count: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('settle') }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('snapshot'), commit: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('fault'),
      after: fc.integer({ min: 0, max: 8 }),
      calls: fc.integer({ min: 1, max: 6 }),
      fault: fc.constantFrom('ENOSPC', 'EIO'),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('crash'), power: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('close') }) },
) as fc.Arbitrary<Command>

/**
 * The naive twin: every record ever appended has an identity 1, 2, 3 …, and what is recovered must be
 * exactly 1 … k, where k is at least what was told durable and never within one append.
 */
class Model {
  readonly world: World
  /** Bytes expected for each identity; [0] is unused. */
  expected: Uint8Array[] = [new Uint8Array(0)]
  /** What the journal of this life began with. */
  base = 0
  /** Identities at which an append ended. */
  boundaries = new Set<number>([0])
  life = 0
  snapshot: Promise<void> | undefined
  unexpected: unknown

  constructor(seed: number) {
    this.world = new World(seed)
    // Less than a group, more than one, or none at all.
    this.world.storage.reservedBytes = [0, 50, 700][seed % 3]!
  }

  get newest(): number {
    return this.expected.length - 1
  }

  get acknowledged(): number {
    return this.base + this.world.durable
  }

  append(sizes: readonly number[]): void {
    const records = sizes.map((length, at) => newRecord(this.newest + 1 + at, this.life, length))
    const { journal } = this.world
    let position: number
    try {
      position = journal.append(records)
    } catch (error) {
      this.check(journal.status === 'failed', error)
      return
    }
    this.expected.push(...records.map((record) => record.slice()))
    // The caller may reuse its arrays at once.
    for (const record of records) record.fill(0xee)
    this.boundaries.add(this.newest)
    this.check(this.base + position === this.newest, `position ${position}`)
    journal.whenDurable(position).then(
      () => this.check(this.world.durable >= position, `told durable too early: ${position}`),
      (error: unknown) => this.check(error instanceof SiloMeshError, error),
    )
  }

  beginSnapshot(commit: boolean): void {
    if (this.snapshot !== undefined) return
    this.snapshot = this.takeSnapshot(commit)
      .catch((error: unknown) => this.check(error instanceof DiskError || isJournalError(error), error))
      .finally(() => {
        this.snapshot = undefined
      })
  }

  async takeSnapshot(commit: boolean): Promise<void> {
    const writer: SnapshotWriter = await this.world.journal.beginSnapshot()
    // Read while appends go on: later slices are newer than the first.
    let next = 1
    while (next <= this.newest) {
      const slice = this.expected.slice(next, next + 7)
      next += slice.length
      await writer.write(slice)
    }
    await (commit ? writer.commit() : writer.abort())
  }

  async restart(): Promise<void> {
    const floor = this.acknowledged
    const recovered = await this.world.open()
    let last = 0
    const all = [...recovered.snapshot, ...recovered.journal]
    for (const record of all) {
      const identity = new DataView(record.buffer, record.byteOffset).getUint32(0)
      if (identity <= last) continue
      this.check(identity === last + 1, `${identity} follows ${last}`)
      last = identity
      const expected = this.expected[identity]
      this.check(
        expected !== undefined && Buffer.compare(expected, record) === 0,
        `record ${identity} differs`,
      )
    }
    this.check(last >= floor, `recovered ${last}, but ${floor} was durable`)
    this.check(this.boundaries.has(last), `recovered ${last}, in the middle of an append`)
    this.base = last
    this.expected.length = last + 1
    this.boundaries = new Set([...this.boundaries].filter((boundary) => boundary <= last))
    this.life += 1
    this.snapshot = undefined
  }

  check(condition: boolean, detail: unknown): void {
    if (!condition) this.unexpected ??= detail
    if (this.unexpected !== undefined) throw this.unexpected
  }
}

function isJournalError(error: unknown): boolean {
  const codes = ['JOURNAL_FAILED', 'NOT_RUNNING', 'INVALID_ARGUMENT']
  return error instanceof SiloMeshError && codes.includes(error.code)
}

function newRecord(identity: number, life: number, filler: number): Uint8Array {
  const record = new Uint8Array(6 + filler).fill(identity * 7 + life)
  const view = new DataView(record.buffer)
  view.setUint32(0, identity)
  view.setUint16(4, life)
  return record
}

async function settle(model: Model): Promise<void> {
  model.world.storage.fault = () => undefined
  while (await model.world.turns.step());
  const { journal } = model.world
  if (journal.status === 'failed') return
  model.check(journal.status === 'ok' && journal.durable === journal.appended, 'it does not come to rest')
  model.check(journal.pendingBytes === 0, 'it counts bytes that are not pending')
}

async function apply(model: Model, command: Command): Promise<void> {
  const { world } = model
  if (command.kind === 'append') model.append(command.sizes)
  else if (command.kind === 'snapshot') model.beginSnapshot(command.commit)
  else if (command.kind === 'settle') await settle(model)
  else if (command.kind === 'turns') {
    for (let turn = 0; turn < command.count; turn += 1) await world.turns.step()
  } else if (command.kind === 'fault') {
    const first = world.storage.calls + command.after
    world.storage.fault = () => {
      const call = world.storage.calls - first
      return call > 0 && call <= command.calls ? command.fault : undefined
    }
  } else if (command.kind === 'crash') {
    world.crash(command.power)
    await model.restart()
  } else {
    const { faults } = world.storage
    const failed = await world.run(closed(world))
    const undisturbed = world.storage.faults === faults
    model.check(failed || model.acknowledged === model.newest, 'closed with a tail that is not durable')
    world.crash(true)
    await model.restart()
    model.check(failed || !undisturbed || world.recovery.cleanStop, 'a closed journal is torn')
  }
}

/** Whether the disk failed, or had no space for the tail. */
async function closed(world: World): Promise<boolean> {
  try {
    await world.journal.close()
    return world.journal.status !== 'ok'
  } catch (error) {
    if (error instanceof DiskFullError || world.journal.status === 'failed') return true
    throw error
  }
}

t.test(
  'whatever fails and whenever it stops, what was durable is recovered, and whole appends',
  async (t) => {
    const history = fc.array(command, { minLength: 1, maxLength: 40 })
    let lives = 0
    await fc.assert(
      fc.asyncProperty(fc.nat(), history, async (seed, commands) => {
        const model = new Model(seed)
        await model.restart()
        for (const command of commands) {
          await apply(model, command)
          model.check(true, undefined)
        }
        await settle(model)
        model.world.crash(true)
        await model.restart()
        lives += model.life
      }),
      { numRuns: Number(process.env.CRASH_RUNS ?? 400) },
    )
    t.ok(lives > 400, `${lives} lives`)
  },
)

t.test('every single call of a start may fail, and the next start finds everything', async (t) => {
  for (const fault of ['ENOSPC', 'EIO'] as const) {
    let failures = 0
    for (let call = 0; ; call += 1) {
      const model = new Model(call)
      await model.restart()
      model.append([3, 4])
      await settle(model)
      model.append([5])
      for (let turn = 0; turn < 3; turn += 1) await model.world.turns.step()
      model.world.crash(false)
      const { acknowledged } = model
      model.world.failCall(call, fault)
      const opening = model.world.open()
      const error = await opening.then(
        () => undefined,
        (error: unknown) => error,
      )
      if (error === undefined) break
      failures += 1
      if (!(error instanceof DiskError)) throw error
      model.check(model.world.storage.locked === false, 'the lock is kept')
      model.world.durable = acknowledged - model.base
      model.world.crash(true)
      await model.restart()
    }
    t.ok(failures > 5, `${failures} calls failed with ${fault}`)
  }
})

t.test('after close nothing works, and close may be repeated', async (t) => {
  const world = new World()
  await world.open()
  const position = world.journal.append([new Uint8Array(3)])
  const waiting = world.journal.whenDurable(position)
  const closing = world.journal.close()
  t.throws(() => world.journal.append([new Uint8Array(1)]), NotRunningError)
  await world.run(closing)
  await waiting
  await world.run(world.journal.close())
  await t.rejects(world.journal.beginSnapshot(), NotRunningError)
  await t.rejects(world.journal.whenDurable(position + 1), NotRunningError)
})
