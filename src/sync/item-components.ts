import { InvalidArgumentError } from './errors.js'

/**
 * A typed component value. Integers are safe integer numbers or bigints (`5` and `5n` are the same value);
 * a fractional number is a double; a double that happens to be whole is an `ItemDouble`.
 */
export type ItemValue = string | boolean | number | bigint | ItemDouble | readonly ItemValue[] | ItemCompound

export interface ItemCompound {
  readonly [key: string]: ItemValue
}

/** A double whose value is a whole number, which a plain JavaScript number could not tell from an integer. */
export class ItemDouble {
  constructor(readonly value: number) {
    if (!Number.isFinite(value)) throw new InvalidArgumentError(`item double: ${value} is not finite`)
  }
}

/** Deepest nesting of lists and compounds. */
export const MAX_ITEM_DEPTH = 16

/** Integers lie strictly between plus and minus this. */
const INTEGER_LIMIT = 2n ** 1024n
const BARE_KEY = /^[A-Za-z_][A-Za-z0-9_.-]*$/
const INTEGER = /^(?:0|-?[1-9][0-9]*)$/
/** Whole doubles end in .0, others have a fraction or an exponent, so no double reads as an integer. */
const DOUBLE = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:e[+-][0-9]+)?|e[+-][0-9]+)$/
/** Control characters and line separators that JSON leaves as they are. */
const UNESCAPED_CONTROLS = /[\u007f-\u009f\u2028\u2029]/g
const SURROGATE_ESCAPE = /[\ud800-\udfff]/u

/** The canonical text: keys in order of their UTF-16 units, no spaces. @throws InvalidArgumentError */
export function printCompound(compound: ItemCompound, maxLength: number): string {
  const printer = new Printer(maxLength)
  printer.compound(compound, 1)
  return printer.text
}

/** Reads a compound that reaches from `offset` to the end of `text`. @throws InvalidArgumentError */
export function parseCompound(text: string, offset: number): ItemCompound {
  const parser = new Parser(text, offset)
  const compound = parser.compound(1)
  if (parser.offset !== text.length) throw parser.error('text after the end of the components')
  return compound
}

class Printer {
  text = ''

  constructor(private readonly maxLength: number) {}

  /** Stops at the bound, so that a huge or cyclic value costs no more than a long key. */
  private write(part: string): void {
    if (this.text.length + part.length > this.maxLength) {
      throw new InvalidArgumentError('item key is longer than its bound')
    }
    this.text += part
  }

  compound(value: ItemCompound, depth: number): void {
    if (typeof value !== 'object' || value === null) {
      throw new InvalidArgumentError('item components: an object expected')
    }
    const prototype = Object.getPrototypeOf(value)
    if (prototype !== null && prototype !== Object.prototype) {
      throw new InvalidArgumentError('item components: a plain object expected')
    }
    requireDepth(depth)
    const keys = Object.keys(value)
    if (keys.length > this.maxLength) throw new InvalidArgumentError('item key is longer than its bound')
    this.write('{')
    keys.sort(byCodeUnit).forEach((key, position) => {
      if (position > 0) this.write(',')
      this.write(BARE_KEY.test(key) ? key : printString(key, this.maxLength, 'an item component key'))
      this.write(':')
      this.value(value[key], depth + 1)
    })
    this.write('}')
  }

  private value(value: unknown, depth: number): void {
    if (typeof value === 'string') this.write(printString(value, this.maxLength, 'an item component'))
    else if (typeof value === 'boolean') this.write(String(value))
    else if (typeof value === 'number') this.write(printNumber(value))
    else if (typeof value === 'bigint') this.write(printInteger(value))
    else if (value instanceof ItemDouble) this.write(printDouble(value.value))
    else if (Array.isArray(value)) this.list(value, depth)
    else if (typeof value === 'object' && value !== null) this.compound(value as ItemCompound, depth)
    else
      throw new InvalidArgumentError(`an item component cannot be ${value === null ? 'null' : typeof value}`)
  }

  private list(values: readonly unknown[], depth: number): void {
    requireDepth(depth)
    this.write('[')
    for (let position = 0; position < values.length; position++) {
      if (position > 0) this.write(',')
      this.value(values[position], depth + 1)
    }
    this.write(']')
  }
}

class Parser {
  constructor(
    private readonly text: string,
    public offset: number,
  ) {}

  error(reason: string): InvalidArgumentError {
    return new InvalidArgumentError(`item key, character ${this.offset}: ${reason}`)
  }

  compound(depth: number): ItemCompound {
    requireDepth(depth)
    this.require('{')
    // Without a prototype, `__proto__` is a key like any other.
    const compound: Record<string, ItemValue> = Object.create(null)
    if (this.accept('}')) return compound
    do {
      const key = this.key()
      if (key in compound) throw this.error(`${JSON.stringify(key)} appears twice`)
      this.require(':')
      compound[key] = this.value(depth + 1)
    } while (this.accept(','))
    this.require('}')
    return compound
  }

  private key(): string {
    const key = this.text[this.offset] === '"' ? this.string() : this.take(/[A-Za-z0-9_.-]*/y)
    if (key === '' || key === undefined) throw this.error('a component name expected')
    return key
  }

  private value(depth: number): ItemValue {
    switch (this.text[this.offset]) {
      case '"':
        return this.string()
      case '{':
        return this.compound(depth)
      case '[':
        return this.list(depth)
      default:
        return this.scalar()
    }
  }

  private list(depth: number): readonly ItemValue[] {
    requireDepth(depth)
    this.require('[')
    const values: ItemValue[] = []
    if (this.accept(']')) return values
    do values.push(this.value(depth + 1))
    while (this.accept(','))
    this.require(']')
    return values
  }

  private string(): string {
    const start = this.offset
    const token = this.take(/"(?:[^"\\]|\\.)*"/y)
    if (token === '') throw this.error('text without its closing quote')
    try {
      return JSON.parse(token) as string
    } catch {
      this.offset = start
      throw this.error('text with a control character or an unknown escape')
    }
  }

  private scalar(): ItemValue {
    const start = this.offset
    const token = this.take(/[A-Za-z0-9.+-]*/y)
    if (token === 'true') return true
    if (token === 'false') return false
    if (INTEGER.test(token)) {
      const value = BigInt(token)
      return Number.isSafeInteger(Number(value)) ? Number(value) : value
    }
    if (DOUBLE.test(token) && Number.isFinite(Number(token))) {
      const value = Number(token)
      return Number.isInteger(value) ? new ItemDouble(value) : value
    }
    this.offset = start
    throw this.error('text in quotes, a number, true, false, a list or a compound expected')
  }

  private take(pattern: RegExp): string {
    pattern.lastIndex = this.offset
    const token = pattern.exec(this.text)?.[0] ?? ''
    this.offset += token.length
    return token
  }

  private accept(character: string): boolean {
    if (this.text[this.offset] !== character) return false
    this.offset += 1
    return true
  }

  private require(character: string): void {
    if (!this.accept(character)) throw this.error(`'${character}' expected`)
  }
}

function requireDepth(depth: number): void {
  if (depth > MAX_ITEM_DEPTH)
    throw new InvalidArgumentError(`item key is nested deeper than ${MAX_ITEM_DEPTH}`)
}

function printString(value: string, maxLength: number, what: string): string {
  if (value.length > maxLength) throw new InvalidArgumentError('item key is longer than its bound')
  if (SURROGATE_ESCAPE.test(value)) throw new InvalidArgumentError(`${what} has a lone surrogate`)
  if (value === '' && what.endsWith('key')) throw new InvalidArgumentError(`${what} is empty`)
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  return JSON.stringify(value).replace(UNESCAPED_CONTROLS, escaped)
}

function printNumber(value: number): string {
  if (Number.isSafeInteger(value)) return String(value === 0 ? 0 : value)
  if (!Number.isFinite(value)) throw new InvalidArgumentError(`an item component cannot be ${value}`)
  if (Number.isInteger(value)) {
    throw new InvalidArgumentError(`${value} is beyond the safe integers: give a bigint, or an ItemDouble`)
  }
  return printDouble(value)
}

function printInteger(value: bigint): string {
  if (value >= INTEGER_LIMIT || value <= -INTEGER_LIMIT) {
    throw new InvalidArgumentError('an item component integer exceeds 1024 bits')
  }
  return value.toString()
}

/** JavaScript's shortest text that reads back as the same double; minus zero is zero. */
function printDouble(value: number): string {
  const text = String(value === 0 ? 0 : value)
  return /[.e]/.test(text) ? text : `${text}.0`
}

function byCodeUnit(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}
