import { InvalidArgumentError } from './errors.js'
import { type ItemCompound, parseCompound, printCompound } from './item-components.js'

/**
 * An item key names a kind of item that can be counted: a namespaced id, and components where two items of one
 * id are not interchangeable (damage, enchantments, names). It has exactly one canonical text,
 *
 *     minecraft:diamond
 *     minecraft:diamond_sword{damage:5,name:"x"}
 *
 * so that equal items are one counter on every server. The value grammar is in item-components.ts.
 */
export interface ItemKey {
  /** `namespace:path`, in lower case (Minecraft's resource locations). */
  readonly id: string
  /** An empty compound is the same as none. */
  readonly components?: ItemCompound
}

/** Longest canonical item key, in UTF-16 units; the wire accepts no longer one. */
export const MAX_ITEM_KEY_LENGTH = 1024

const ITEM_ID = /^[a-z0-9_.-]+:[a-z0-9_./-]+$/

/**
 * The canonical text of an item key. Text is accepted with its components in any order; object forms with
 * their keys in any order. A text that already is canonical comes back as it is, and for a plain id that
 * costs a fraction of a microsecond.
 * @throws InvalidArgumentError
 */
export function canonicalItemKey(input: string | ItemKey): string {
  if (typeof input === 'string') {
    requireLength(input)
    return ITEM_ID.test(input) ? input : printItemKey(parseItemKey(input))
  }
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new InvalidArgumentError('an item key is a text or an object of id and components')
  }
  for (const field of Object.keys(input)) {
    if (field !== 'id' && field !== 'components') {
      throw new InvalidArgumentError(`item key: unknown field ${quote(field)}`)
    }
  }
  return printItemKey(input)
}

/**
 * The parts of an item key. `components` is an empty compound when there are none.
 * @throws InvalidArgumentError
 */
export function parseItemKey(text: string): Required<ItemKey> {
  if (typeof text !== 'string') throw new InvalidArgumentError('item key: text expected')
  requireLength(text)
  const brace = text.indexOf('{')
  const id = brace < 0 ? text : text.slice(0, brace)
  requireItemId(id)
  return { id, components: brace < 0 ? parseCompound('{}', 0) : parseCompound(text, brace) }
}

function printItemKey({ id, components }: ItemKey): string {
  requireItemId(id)
  if (components === undefined) return id
  const printed = printCompound(components, MAX_ITEM_KEY_LENGTH - id.length)
  return printed === '{}' ? id : id + printed
}

function requireLength(text: string): void {
  if (text.length === 0) throw new InvalidArgumentError('item key is empty')
  if (text.length > MAX_ITEM_KEY_LENGTH) {
    throw new InvalidArgumentError(`item key has ${text.length} characters, at most ${MAX_ITEM_KEY_LENGTH}`)
  }
}

function requireItemId(id: unknown): void {
  if (typeof id !== 'string') throw new InvalidArgumentError('item id: text expected')
  requireLength(id)
  if (ITEM_ID.test(id)) return
  const reason = id.includes(':') ? 'characters other than a-z 0-9 _ . - / or an empty part' : 'no namespace'
  throw new InvalidArgumentError(`item id ${quote(id)} has ${reason}; expected like minecraft:diamond`)
}

function quote(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text)
}
