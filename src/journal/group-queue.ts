import { InvalidArgumentError, OverloadedError } from '../sync/errors.js'
import { RECORD_PREFIX_BYTES } from './frame.js'
import { FrameBuilderPool, GROUP_TARGET_BYTES, Group } from './group.js'
import { MAX_PENDING_BYTES, MAX_RECORD_BYTES } from './journal.js'

/** Groups that wait for the disk, the last of them still open. */
export class GroupQueue {
  readonly #pool = new FrameBuilderPool()
  #closed: Group[] = []
  #open: Group | undefined
  /** Records taken so far. */
  appended = 0
  /** Bytes of the groups that are not done. At most MAX_PENDING_BYTES. */
  bytes = 0

  /** All records of a call go into one group. @throws OverloadedError, InvalidArgumentError */
  add(records: readonly Uint8Array[]): void {
    const bytes = checkedBytes(records)
    if (bytes > MAX_PENDING_BYTES)
      throw new InvalidArgumentError(
        `${bytes} bytes in one append, at most ${MAX_PENDING_BYTES} are possible`,
      )
    if (this.bytes + bytes > MAX_PENDING_BYTES)
      throw new OverloadedError(`${this.bytes} bytes wait for the disk, the journal takes no more for now`)
    if (this.#open !== undefined && this.#open.bytes + bytes > GROUP_TARGET_BYTES) this.cut()
    this.#open ??= new Group(this.#pool)
    for (const record of records) this.#open.add(record)
    this.bytes += bytes
    this.appended += records.length
    this.#open.endPosition = this.appended
  }

  /** What is added from now on belongs to another group. */
  cut(): void {
    if (this.#open === undefined) return
    this.#closed.push(this.#open)
    this.#open = undefined
  }

  /** The oldest group, which takes no more records. Give it back with `done`. */
  take(): Group | undefined {
    if (this.#closed.length === 0) this.cut()
    return this.#closed.shift()
  }

  done(group: Group): void {
    this.bytes -= group.bytes
    group.recycle()
  }
}

/** @throws InvalidArgumentError for a record above MAX_RECORD_BYTES */
export function checkedBytes(records: readonly Uint8Array[]): number {
  let bytes = 0
  for (const record of records) {
    if (record.length > MAX_RECORD_BYTES)
      throw new InvalidArgumentError(
        `a record of ${record.length} bytes, at most ${MAX_RECORD_BYTES} are allowed`,
      )
    bytes += RECORD_PREFIX_BYTES + record.length
  }
  return bytes
}
