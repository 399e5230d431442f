import type { HistoryEntry, RegisterOperation } from '../checkers/linearizability.js'

/** An operation under way; say once what became of it. */
export interface OpenOperation {
  /** It returned now; with `operation` when only the answer says what it was. */
  returned(operation?: RegisterOperation): void
  /** Certainly, nothing has happened. */
  refused(): void
}

/** A write of a value to a key of its own, or the creation of an anchor. */
export interface AcknowledgedWrite {
  readonly key: string
  readonly value: string
  readonly server: number
  readonly atUs: number
}

/** An anchor or a transfer that somebody has asked for. */
export interface CreatedEntity {
  readonly id: string
  readonly server: number
  readonly calledUs: number
  acknowledged: boolean
  /** Somebody has asked for its deletion. */
  mayBeDeleted: boolean
}

export interface CreatedTransfer extends CreatedEntity {
  readonly from: string
  readonly to: string
}

/** What a holder of a lock did, seen from the resource that the lock guards. */
export interface LockStep {
  readonly kind: 'granted' | 'step' | 'ended'
  readonly key: string
  /** Number of the attempt. */
  readonly holder: number
  readonly server: number
  readonly token: bigint
  readonly requestedUs: number
  readonly atUs: number
  /** The holder has been told that it has lost the lock. */
  readonly aborted: boolean
}

/** What the harness asked of the strong group and what it was told: kept by the harness, never by the nodes. */
export class StrongHistory {
  readonly #entries = new Map<string, HistoryEntry[]>()
  readonly acknowledged: AcknowledgedWrite[] = []
  readonly anchors = new Map<string, CreatedEntity>()
  readonly transfers = new Map<string, CreatedTransfer>()
  readonly lockSteps: LockStep[] = []
  /** True once something was acknowledged: from then on the mesh is founded for certain. */
  founded = false
  /** Operations that were acknowledged. */
  operations = 0
  attempts = 0

  constructor(private readonly nowUs: () => number) {}

  get keys(): Iterable<string> {
    return this.#entries.keys()
  }

  of(key: string): readonly HistoryEntry[] {
    return this.#entries.get(key) ?? []
  }

  begin(key: string, server: number, operation: RegisterOperation): OpenOperation {
    const entries = this.#entries.get(key) ?? []
    this.#entries.set(key, entries)
    const calledUs = this.nowUs()
    let entry: HistoryEntry = { operation, calledUs, returnedUs: undefined, server }
    entries.push(entry)
    const replace = (...by: HistoryEntry[]) => {
      entries.splice(entries.indexOf(entry), 1, ...by)
    }
    return {
      returned: (answered = operation) => {
        const closed = { operation: answered, calledUs, returnedUs: this.nowUs(), server }
        replace(closed)
        entry = closed
      },
      refused: () => replace(),
    }
  }

  /** The group has answered. */
  answered(): void {
    this.founded = true
    this.operations += 1
  }
}
