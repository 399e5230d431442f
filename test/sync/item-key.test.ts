import fc from 'fast-check'
import t from 'tap'
import { InvalidArgumentError } from '../../src/sync/errors.js'
import { ItemDouble, type ItemValue, MAX_ITEM_DEPTH } from '../../src/sync/item-components.js'
import { canonicalItemKey, MAX_ITEM_KEY_LENGTH, parseItemKey } from '../../src/sync/item-key.js'

const key = fc.oneof(
  fc.constantFrom(
    'damage',
    'name',
    '__proto__',
    'constructor',
    'minecraft:lore',
    '1',
    'ä b',
    'a\nb',
    '\u2028',
  ),
  fc.string({ minLength: 1, maxLength: 6, unit: 'grapheme' }),
)
const { value } = fc.letrec<{ value: ItemValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.string({ maxLength: 8, unit: 'grapheme' }),
    fc.string({ maxLength: 4, unit: 'binary' }).filter((text) => !/[\ud800-\udfff]/u.test(text)),
    fc.boolean(),
    fc.maxSafeInteger().map((number) => (number === 0 ? 0 : number)),
    fc.bigInt({ min: 2n ** 53n, max: 2n ** 200n }),
    fc.bigInt({ min: -(2n ** 200n), max: -(2n ** 53n) }),
    fc
      .double({ noDefaultInfinity: true, noNaN: true })
      .map((number) => (Number.isInteger(number) ? new ItemDouble(number === 0 ? 0 : number) : number)),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(key, tie('value'), { maxKeys: 3, noNullPrototype: false }),
  ),
}))
const components = fc.dictionary(key, value, { maxKeys: 4, noNullPrototype: true })

/** The same value with the keys of every compound in another order. */
function reordered(given: ItemValue, random: (bound: number) => number): ItemValue {
  if (Array.isArray(given)) return given.map((element) => reordered(element, random))
  if (typeof given !== 'object' || given instanceof ItemDouble) return given
  const entries = Object.entries(given)
  for (let last = entries.length - 1; last > 0; last--) {
    const other = random(last + 1)
    ;[entries[last], entries[other]] = [entries[other]!, entries[last]!]
  }
  const compound = Object.create(null)
  for (const [name, inner] of entries) compound[name] = reordered(inner, random)
  return compound
}

/** Doubles as text and prototypes gone, so that a deep comparison is exact. */
function plain(given: ItemValue): unknown {
  if (given instanceof ItemDouble) return { double: given.value }
  if (Array.isArray(given)) return given.map(plain)
  if (typeof given === 'object')
    return Object.entries(given)
      .map(([name, inner]) => [name, plain(inner)])
      .sort()
  return given
}

t.test('one text per item: whatever the order of its components, and reading undoes printing', async (t) => {
  fc.assert(
    fc.property(components, fc.infiniteStream(fc.nat()), (given, numbers) => {
      const random = (bound: number) => numbers.next().value! % bound
      const text = canonicalItemKey({ id: 'minecraft:stick', components: given })
      const other = reordered(given, random) as typeof given
      t.equal(canonicalItemKey({ id: 'minecraft:stick', components: other }), text)
      t.equal(canonicalItemKey(text), text)
      t.strictSame(plain(parseItemKey(text).components), plain(given))
      t.notMatch(text, /[\p{Cc}\u2028\u2029]/u)
    }),
    { numRuns: 300 },
  )
})

t.test('different items have different texts', async (t) => {
  fc.assert(
    fc.property(components, components, (left, right) => {
      const same = JSON.stringify(plain(left), asText) === JSON.stringify(plain(right), asText)
      const id = 'minecraft:stick'
      t.equal(
        canonicalItemKey({ id, components: left }) === canonicalItemKey({ id, components: right }),
        same,
      )
    }),
  )
  const texts = [1, new ItemDouble(1), '1', true, [1], { a: 1 }, 1.5].map((given) =>
    canonicalItemKey({ id: 'a:b', components: { x: given } }),
  )
  t.same(texts, [
    'a:b{x:1}',
    'a:b{x:1.0}',
    'a:b{x:"1"}',
    'a:b{x:true}',
    'a:b{x:[1]}',
    'a:b{x:{a:1}}',
    'a:b{x:1.5}',
  ])
})

function asText(_name: string, given: unknown): unknown {
  return typeof given === 'bigint' ? `${given}n` : given
}

t.test('the text form', async (t) => {
  t.equal(canonicalItemKey('minecraft:diamond'), 'minecraft:diamond')
  t.equal(canonicalItemKey('minecraft:diamond{}'), 'minecraft:diamond')
  t.equal(canonicalItemKey({ id: 'minecraft:diamond', components: {} }), 'minecraft:diamond')
  t.equal(canonicalItemKey('a:b{name:"x",damage:5}'), 'a:b{damage:5,name:"x"}')
  t.equal(canonicalItemKey('a:b{"damage":5}'), 'a:b{damage:5}')
  t.equal(canonicalItemKey({ id: 'a:b', components: { n: 5n } }), 'a:b{n:5}')
  t.equal(canonicalItemKey({ id: 'a:b', components: { n: -0 } }), 'a:b{n:0}')
  t.equal(canonicalItemKey({ id: 'a:b', components: { n: 2n ** 64n } }), 'a:b{n:18446744073709551616}')
  t.equal(canonicalItemKey({ id: 'a:b', components: { 'c:d': [] } }), 'a:b{"c:d":[]}')
})

t.test('what is no item key is refused', async (t) => {
  const refused: unknown[] = [
    '',
    ':',
    'diamond',
    'minecraft:',
    ':diamond',
    'Minecraft:diamond',
    'a:b:c',
    'a:b c',
    'a:b\n',
    'a\u0000:b',
    'a/b:c',
    `a:${'b'.repeat(MAX_ITEM_KEY_LENGTH)}`,
    'a:b{',
    'a:b{}}',
    'a:b{} ',
    'a:b{x}',
    'a:b{x:}',
    'a:b{x:1,}',
    'a:b{,}',
    'a:b{x:1,x:2}',
    'a:b{x:1,"x":2}',
    'a:b{x:01}',
    'a:b{x:-0}',
    'a:b{x:1.}',
    'a:b{x:.5}',
    'a:b{x:1e5}',
    'a:b{x:NaN}',
    'a:b{x:null}',
    'a:b{x:"a}',
    'a:b{x:"\\q"}',
    'a:b{x:"\n"}',
    'a:b{x:"\\ud800"}',
    'a:b{"":1}',
    'a:b{x: 1}',
    'a:b[1]',
    'a:b{x:1e+999}',
    `a:b{x:${'['.repeat(MAX_ITEM_DEPTH)}${']'.repeat(MAX_ITEM_DEPTH)}}`,
    undefined,
    null,
    5,
    [],
    {},
    { id: 5 },
    { id: 'a:b', components: null },
    { id: 'a:b', components: [] },
    { id: 'a:b', component: {} },
    { id: 'a:b', components: { x: undefined } },
    { id: 'a:b', components: { x: null } },
    { id: 'a:b', components: { x: Number.NaN } },
    { id: 'a:b', components: { x: 2 ** 53 } },
    { id: 'a:b', components: { x: new Date(0) } },
    { id: 'a:b', components: { x: () => 1 } },
    { id: 'a:b', components: { x: 2n ** 1024n } },
    { id: 'a:b', components: { x: 'y'.repeat(1025) } },
    { id: 'a:b', components: { x: '\ud800' } },
    { id: 'a:b', components: new Map() },
    { id: 'a:b', components: { x: new Array(1e7) } },
  ]
  const cyclic: Record<string, unknown> = {}
  cyclic.self = cyclic
  refused.push({ id: 'a:b', components: cyclic })
  const accepted = refused.filter((input) => {
    try {
      canonicalItemKey(input as string)
      return true
    } catch (error) {
      return !(error instanceof InvalidArgumentError)
    }
  })
  t.same(accepted, [])
  t.throws(() => parseItemKey(5 as never), InvalidArgumentError)
  t.throws(() => new ItemDouble(Number.POSITIVE_INFINITY), InvalidArgumentError)
})

t.test('arbitrary text is refused or has a canonical form', async (t) => {
  const text = fc.array(
    fc.constantFrom('a:b', '{', '}', '[', ']', ',', ':', '"', '\\', 'x', '1', '-', '.', 'e+', '"k"'),
  )
  fc.assert(
    fc.property(text, (parts) => {
      try {
        const canonical = canonicalItemKey(`a:b{${parts.join('')}`)
        t.equal(canonicalItemKey(canonical), canonical)
      } catch (error) {
        t.ok(error instanceof InvalidArgumentError, String(error))
      }
    }),
    { numRuns: 2000 },
  )
})
