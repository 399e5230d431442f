import { TupleReader } from '../tuple-reader.js'
import type { KeyValue } from './key-value-store.js'
import type { Lease } from './leases.js'
import { MAX_SESSION_NAME_LENGTH, STATE_MACHINE_LIMITS, STATE_MACHINE_VERSION } from './limits.js'
import { type Result, readResult } from './results.js'
import type { Session } from './sessions.js'
import { CHUNK_KINDS, SNAPSHOT_CHUNK_BYTES } from './snapshot.js'
import { StateMachine, type StateMachineInput } from './state-machine.js'

interface Position {
  readonly appliedIndex: number
  readonly revision: number
}

/**
 * Builds a state machine from the chunks of a snapshot, in order. `add` and `finish` throw FrameError for a
 * damaged, foreign or incomplete stream; until `finish` returns there is no machine to misuse.
 */
export class SnapshotRestore {
  readonly #machine: StateMachine
  #position: Position | undefined
  #counts: readonly number[] | undefined
  #lastKey: string | undefined
  readonly #keys: KeyValue[] = []
  readonly #leases: Lease[] = []
  readonly #sessions: Session[] = []

  constructor(input: StateMachineInput = {}) {
    this.#machine = new StateMachine(input)
  }

  add(chunk: unknown): void {
    const reader = new TupleReader(chunk, 'snapshot chunk')
    const kind = reader.choice(CHUNK_KINDS)
    if (this.#counts !== undefined) reader.fail('follows the end')
    if ((kind === 'header') !== (this.#position === undefined)) reader.fail(`of kind ${kind} is out of place`)
    if (kind === 'header') this.#readHeader(reader)
    else if (kind === 'keys') this.#readKeys(reader)
    else if (kind === 'leases') this.#leases.push(...reader.list('leases', MAX_ITEMS, readLease))
    else if (kind === 'sessions') this.#sessions.push(...reader.list('sessions', MAX_ITEMS, readSession))
    else this.#counts = [reader.integer(), reader.integer(), reader.integer()]
    reader.end()
  }

  finish(): StateMachine {
    const reader = new TupleReader([], 'snapshot')
    const position = this.#position ?? reader.fail('has no header')
    const counts = this.#counts ?? reader.fail('has no end')
    const found = [this.#keys.length, this.#leases.length, this.#sessions.length]
    if (found.some((count, at) => count !== counts[at]))
      reader.fail(`holds ${found}, but announced ${counts}`)
    this.#machine.restoreInto(({ store, leases, sessions }) => {
      for (const { id, ttlMs, renewals } of this.#leases) leases.grant(id, ttlMs, renewals)
      for (const current of this.#keys) {
        store.set(current)
        leases.attach(current.lease, current.key)
      }
      for (const session of this.#sessions) sessions.restore(session)
      return position
    })
    return this.#machine
  }

  #readHeader(reader: TupleReader): void {
    const version = reader.integer(1)
    if (version !== STATE_MACHINE_VERSION) {
      reader.fail(`is of state machine version ${version}; this is version ${STATE_MACHINE_VERSION}`)
    }
    this.#position = { appliedIndex: reader.integer(), revision: reader.integer() }
  }

  #readKeys(reader: TupleReader): void {
    for (const current of reader.list('keys', MAX_ITEMS, readKeyValue)) {
      if (this.#lastKey !== undefined && current.key <= this.#lastKey) reader.fail('has keys out of order')
      if (current.modRevision > this.#position!.revision) reader.fail('has a key of a later revision')
      this.#lastKey = current.key
      this.#keys.push(current)
    }
  }
}

/** No chunk of `SNAPSHOT_CHUNK_BYTES` holds more. */
const MAX_ITEMS = SNAPSHOT_CHUNK_BYTES

function readKeyValue(list: TupleReader): KeyValue {
  const reader = list.nested('key')
  const current = {
    key: reader.string(STATE_MACHINE_LIMITS.maxKeyLength),
    value: reader.bytes(STATE_MACHINE_LIMITS.maxValueBytes),
    createRevision: reader.integer(1),
    modRevision: reader.integer(1),
    version: reader.integer(1),
    lease: reader.integer(),
  }
  reader.end()
  return current
}

function readLease(list: TupleReader): Lease {
  const reader = list.nested('lease')
  const lease = { id: reader.integer(1), ttlMs: reader.integer(1), renewals: reader.integer() }
  reader.end()
  return lease
}

function readSession(list: TupleReader): Session {
  const reader = list.nested('session')
  const session = {
    id: reader.integer(1),
    name: reader.string(MAX_SESSION_NAME_LENGTH),
    floor: reader.integer(1),
    results: new Map(
      reader.list('results', STATE_MACHINE_LIMITS.maxResultsPerSession, (results): [number, Result] => {
        const item = results.nested('result')
        const pair: [number, Result] = [item.integer(1), readResult(item.nested('result'))]
        item.end()
        return pair
      }),
    ),
  }
  reader.end()
  return session
}
