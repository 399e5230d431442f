import { CellKind, type ObjectValue } from '../crdt/cell.js'
import type { OwnWrite } from '../crdt/own-writes.js'
import { isExpired, type Partition } from '../crdt/partition.js'
import type { Clock } from '../environment/environment.js'
import { ConflictError, InvalidArgumentError } from '../sync/errors.js'
import { isWellFormed } from '../wire/encode.js'

/** Longest operation id. */
export const MAX_OPERATION_ID_LENGTH = 128

/** What was done under an operation id. */
export interface OperationRecord {
  /** Id of the withdrawal that it made, '' for anything else. */
  readonly withdrawalId: string
  /** It is on its way to the journal; otherwise it is durable here. */
  readonly isPending: boolean
}

/**
 * Operation ids that have taken effect, as cells written in one batch with what the operation did: after a
 * crash either both are there or neither. Every server that has seen the cell recognises the id; a retry at
 * the same server always is. Kept for `retentionMs`.
 */
export class OperationLog {
  constructor(
    private readonly partition: Partition,
    private readonly clock: Clock,
    private readonly retentionMs: number,
  ) {}

  /**
   * What an earlier call with this id did; undefined when there was none. `content` says what the operation is.
   * @throws InvalidArgumentError for a malformed id; ConflictError when the id was used for something else
   */
  find(storage: string, operationId: string, content: string): OperationRecord | undefined {
    requireOperationId(operationId)
    const { table, own } = this.partition
    const entry = table.findNamespace(CellKind.operation, storage)?.entries.get(operationId)
    if (entry === undefined) return undefined
    const pending = own.pendingObject(entry)
    const values: ObjectValue[] = pending ? [pending] : []
    for (const cell of table.cellsOf(entry)) values.push(table.objectValue(cell))
    const value = values.find((candidate) => !isExpired(candidate, this.clock.wallMs()))
    if (!value) return undefined
    if (value[1] !== content) {
      throw new ConflictError(`operation id ${operationId} was used for something else: ${String(value[1])}`)
    }
    return { withdrawalId: String(value[2] ?? ''), isPending: pending !== undefined }
  }

  /** The write that records an operation, to go into one batch with it. */
  write(storage: string, operationId: string, content: string, withdrawalId: string): OwnWrite {
    const { table } = this.partition
    const entry = table.entry(table.namespace(CellKind.operation, storage), operationId)
    return { entry, object: [Math.floor(this.clock.wallMs()) + this.retentionMs, content, withdrawalId] }
  }
}

function requireOperationId(id: string): void {
  if (typeof id === 'string' && id.length > 0 && id.length <= MAX_OPERATION_ID_LENGTH && isWellFormed(id))
    return
  throw new InvalidArgumentError(
    `operationId: 1 to ${MAX_OPERATION_ID_LENGTH} characters of well-formed text`,
  )
}
