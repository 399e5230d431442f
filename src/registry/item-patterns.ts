import { InvalidArgumentError } from '../sync/errors.js'
import { canonicalItemKey, MAX_ITEM_KEY_LENGTH } from '../sync/item-key.js'

/** Which items a transfer takes: canonical item keys, or patterns of item ids with `*` for any characters. */
export type ItemPattern = string

export const MAX_ITEM_PATTERNS = 64
/** All of them together, in UTF-16 units; with the metadata it fits an event's payload even as UTF-8. */
export const MAX_ITEM_PATTERNS_LENGTH = 8192

const PATTERN = /^[a-z0-9_.*-]*(:[a-z0-9_./*-]*)?$/

/**
 * The list in canonical form: sorted, without repetitions.
 * @throws InvalidArgumentError when empty, too long, or an entry is neither an item key nor a pattern
 */
export function checkItemPatterns(given: unknown): readonly ItemPattern[] {
  if (!Array.isArray(given) || given.length === 0 || given.length > MAX_ITEM_PATTERNS) {
    throw new InvalidArgumentError(
      `items: a list of 1 to ${MAX_ITEM_PATTERNS} item keys or patterns expected`,
    )
  }
  const patterns = [...new Set(given.map(checkItemPattern))].sort()
  const length = patterns.reduce((sum, pattern) => sum + pattern.length, 0)
  if (length > MAX_ITEM_PATTERNS_LENGTH) {
    throw new InvalidArgumentError(
      `items: ${length} characters together, at most ${MAX_ITEM_PATTERNS_LENGTH}`,
    )
  }
  return Object.freeze(patterns)
}

function checkItemPattern(given: unknown): ItemPattern {
  if (typeof given !== 'string' || !isPattern(given)) return canonicalItemKey(given as string)
  if (given.length <= MAX_ITEM_KEY_LENGTH && PATTERN.test(given)) return given.replace(/\*+/g, '*')
  throw new InvalidArgumentError(`items: ${JSON.stringify(given.slice(0, 64))} is no pattern of item ids`)
}

/** An item key may hold a `*` too, but only within its components. */
function isPattern(text: string): boolean {
  const star = text.indexOf('*')
  const brace = text.indexOf('{')
  return star >= 0 && (brace < 0 || star < brace)
}

/**
 * Whether a canonical item key is among them. A pattern is matched against the item's id and takes it with any
 * components; a key takes exactly that kind of item.
 */
export function matchesItem(patterns: readonly ItemPattern[], itemKey: string): boolean {
  const brace = itemKey.indexOf('{')
  const id = brace < 0 ? itemKey : itemKey.slice(0, brace)
  return patterns.some((pattern) => (isPattern(pattern) ? matchesId(pattern, id) : pattern === itemKey))
}

/** Leftmost match of each part in turn: linear, where a regular expression could take quadratic time or worse. */
function matchesId(pattern: string, id: string): boolean {
  const parts = pattern.split('*')
  const first = parts[0]!
  const last = parts[parts.length - 1]!
  if (id.length < first.length + last.length || !id.startsWith(first) || !id.endsWith(last)) return false
  let at = first.length
  for (const part of parts.slice(1, -1)) {
    const found = id.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  return at <= id.length - last.length
}
