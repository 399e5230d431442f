import { FrameError } from '../sync/errors.js'

/** What goes over the wire and into the journal: arrays of these, so that CBOR needs no tags. */
export type TupleValue = number | string | boolean | null | Uint8Array | readonly TupleValue[]
export type Tuple = readonly TupleValue[]

/** Reads a decoded array field by field and believes nothing. Every method throws FrameError. */
export class TupleReader {
  readonly #values: readonly unknown[]
  #at = 0

  constructor(
    value: unknown,
    readonly what: string,
  ) {
    if (!Array.isArray(value)) throw new FrameError(`${what} is not an array`)
    this.#values = value
  }

  get remaining(): number {
    return this.#values.length - this.#at
  }

  #next(kind: string): unknown {
    if (this.#at >= this.#values.length) this.fail(`lacks field ${this.#at} (${kind})`)
    const value = this.#values[this.#at]
    this.#at += 1
    return value
  }

  fail(detail: string): never {
    throw new FrameError(`${this.what} ${detail}`)
  }

  /** A whole number from `least` up to what is exact. */
  integer(least = 0): number {
    const value = this.#next('integer')
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least) return value
    return this.fail(`field ${this.#at - 1} is no integer from ${least} up`)
  }

  /** A string of `leastLength` to `maxLength` UTF-16 units. */
  string(maxLength: number, leastLength = 1): string {
    const value = this.#next('string')
    if (typeof value !== 'string' || value.length > maxLength || value.length < leastLength) {
      return this.fail(`field ${this.#at - 1} is no string of ${leastLength} to ${maxLength} characters`)
    }
    return value
  }

  bytes(maxLength: number): Uint8Array {
    const value = this.#next('bytes')
    if (value instanceof Uint8Array && value.length <= maxLength) return value
    return this.fail(`field ${this.#at - 1} is no byte string of at most ${maxLength}`)
  }

  boolean(): boolean {
    const value = this.#next('boolean')
    if (typeof value === 'boolean') return value
    return this.fail(`field ${this.#at - 1} is no boolean`)
  }

  /** One of `choices`, sent as its position. */
  choice<T>(choices: readonly T[]): T {
    const position = this.integer()
    if (position < choices.length) return choices[position]!
    return this.fail(`field ${this.#at - 1} is none of ${choices.length} known values`)
  }

  optionalString(maxLength: number): string | undefined {
    if (this.#values[this.#at] !== null) return this.string(maxLength)
    this.#at += 1
    return undefined
  }

  nested(what: string): TupleReader {
    return new TupleReader(this.#next('array'), what)
  }

  /** A list of at most `maxLength` values, each read by `read`. */
  list<T>(what: string, maxLength: number, read: (reader: TupleReader, at: number) => T): T[] {
    const reader = this.nested(what)
    const length = reader.remaining
    if (length > maxLength) return this.fail(`has ${length} ${what}, more than ${maxLength}`)
    const values: T[] = []
    for (let at = 0; at < length; at++) values.push(read(reader, at))
    return values
  }

  /** Nothing may follow: a longer tuple is a version that this one does not know. */
  end(): void {
    if (this.remaining > 0) this.fail(`has ${this.remaining} fields too many`)
  }
}
