import type { Command, Comparison, Operation, Request } from '../../../src/raft/state-machine/commands.js'
import type { Result } from '../../../src/raft/state-machine/results.js'

interface Row {
  key: string
  value: string
  create: number
  mod: number
  version: number
  lease: number
}

interface NaiveEvent {
  kind: 'put' | 'delete'
  key: string
  revision: number
}

/** The same rules said as plainly as possible: arrays, scans, and a copy of everything for each revision. */
export class NaiveStore {
  rows: Row[] = []
  revision = 0
  leases: { id: number; ttlMs: number; renewals: number }[] = []
  sessions: { id: number; floor: number; results: Map<number, Result> }[] = []
  events: NaiveEvent[] = []

  apply(index: number, { session, sequence, oldestPending, command }: Request): Result {
    if (session === 0) return this.#run(index, command)
    const found = this.sessions.find(({ id }) => id === session)
    if (found === undefined) return { status: 'refused', reason: 'session-unknown' }
    const known = found.results.get(sequence)
    if (known !== undefined) return known
    if (sequence < found.floor) return { status: 'refused', reason: 'sequence-stale' }
    found.floor = Math.max(found.floor, oldestPending)
    for (const old of [...found.results.keys()]) if (old < found.floor) found.results.delete(old)
    const result = this.#run(index, command)
    found.results.set(sequence, result)
    return result
  }

  #run(index: number, command: Command): Result {
    switch (command.kind) {
      case 'open-session':
        this.sessions.push({ id: index, floor: 1, results: new Map() })
        return { status: 'session', session: index }
      case 'close-session': {
        const before = this.sessions.length
        this.sessions = this.sessions.filter(({ id }) => id !== command.session)
        if (before === this.sessions.length) return { status: 'refused', reason: 'session-unknown' }
        return this.#done(0)
      }
      case 'grant-lease':
        this.leases.push({ id: index, ttlMs: command.ttlMs, renewals: 0 })
        return { status: 'lease', lease: index, ttlMs: command.ttlMs }
      case 'keep-alive': {
        const lease = this.leases.find(({ id }) => id === command.lease)
        if (lease === undefined) return { status: 'refused', reason: 'lease-unknown' }
        lease.renewals += 1
        return { status: 'lease', lease: lease.id, ttlMs: lease.ttlMs }
      }
      case 'revoke-lease':
        if (!this.leases.some(({ id }) => id === command.lease))
          return { status: 'refused', reason: 'lease-unknown' }
        return this.#endLeases([command.lease])
      case 'expire-leases': {
        const due = this.leases.filter(({ id, renewals }) =>
          command.expiries.some((expiry) => expiry.lease === id && expiry.renewals === renewals),
        )
        return this.#endLeases(due.map(({ id }) => id))
      }
      case 'transact':
        return this.#transact(command.comparisons, command.success, command.failure)
    }
  }

  #endLeases(ids: number[]): Result {
    this.leases = this.leases.filter(({ id }) => !ids.includes(id))
    const gone = this.rows.filter(({ lease }) => ids.includes(lease)).map(({ key }) => key)
    if (gone.length > 0) this.revision += 1
    for (const key of gone) this.#remove(key)
    return this.#done(gone.length)
  }

  #remove(key: string): void {
    this.rows = this.rows.filter((row) => row.key !== key)
    this.events.push({ kind: 'delete', key, revision: this.revision })
  }

  #transact(
    comparisons: readonly Comparison[],
    success: readonly Operation[],
    failure: readonly Operation[],
  ): Result {
    let failed = -1
    for (let at = comparisons.length - 1; at >= 0; at--) if (!this.#holds(comparisons[at]!)) failed = at
    const operations = failed === -1 ? success : failure
    for (const operation of operations) {
      if (operation.kind !== 'put' || operation.lease === 0) continue
      if (!this.leases.some(({ id }) => id === operation.lease))
        return { status: 'refused', reason: 'lease-unknown' }
    }
    const before = this.events.length
    this.revision += 1
    for (const operation of operations) this.#operate(operation)
    if (this.events.length === before) this.revision -= 1
    const deleted = this.events.slice(before).filter(({ kind }) => kind === 'delete').length
    return this.#done(deleted, failed)
  }

  #operate(operation: Operation): void {
    if (operation.kind === 'put') {
      const old = this.rows.find(({ key }) => key === operation.key)
      this.rows = this.rows.filter(({ key }) => key !== operation.key)
      this.rows.push({
        key: operation.key,
        value: [...operation.value].join(),
        create: old?.create ?? this.revision,
        mod: this.revision,
        version: (old?.version ?? 0) + 1,
        lease: operation.lease,
      })
      this.events.push({ kind: 'put', key: operation.key, revision: this.revision })
      return
    }
    const keys = this.rows.map(({ key }) => key).sort()
    for (const key of keys) {
      if (operation.kind === 'delete' && key === operation.key) this.#remove(key)
      if (operation.kind === 'delete-prefix' && key.startsWith(operation.prefix)) this.#remove(key)
      if (operation.kind === 'delete-range' && key >= operation.from && key < operation.to) this.#remove(key)
    }
  }

  #holds(comparison: Comparison): boolean {
    const row = this.rows.find(({ key }) => key === comparison.key)
    if (comparison.target === 'exists') return comparison.exists ? row !== undefined : row === undefined
    if (comparison.target === 'value') {
      const equal = row !== undefined && row.value === [...comparison.operand].join()
      return comparison.operator === '=' ? equal : !equal
    }
    const names = {
      version: 'version',
      'create-revision': 'create',
      'mod-revision': 'mod',
      lease: 'lease',
    } as const
    const left = row === undefined ? 0 : row[names[comparison.target]]
    if (comparison.operator === '=') return left === comparison.operand
    if (comparison.operator === '!=') return left !== comparison.operand
    if (comparison.operator === '<') return left < comparison.operand
    return left > comparison.operand
  }

  #done(deleted: number, failedComparison = -1): Result {
    return {
      status: 'done',
      succeeded: failedComparison === -1,
      failedComparison,
      revision: this.revision,
      deleted,
    }
  }
}
