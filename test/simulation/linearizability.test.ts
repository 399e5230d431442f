import fc from 'fast-check'
import t from 'tap'
import {
  checkRegister,
  type HistoryEntry,
  type RegisterOperation,
} from '../../src/simulation/checkers/linearizability.js'

const read = (value?: string): RegisterOperation => ({ kind: 'read', value })
const write = (value?: string): RegisterOperation => ({ kind: 'write', value })
const swap = (expected: string | undefined, value: string, succeeded?: boolean): RegisterOperation => ({
  kind: 'compare-and-set',
  expected,
  value,
  succeeded,
})
const at = (
  calledUs: number,
  returnedUs: number | undefined,
  operation: RegisterOperation,
): HistoryEntry => ({
  operation,
  calledUs,
  returnedUs,
  server: 0,
})

t.test('good histories', async (t) => {
  t.equal(checkRegister([]), 'linearizable')
  t.equal(checkRegister([at(0, 1, read()), at(2, 3, write('a')), at(4, 5, read('a'))]), 'linearizable')
  t.equal(
    checkRegister([at(0, 10, write('a')), at(1, 2, read()), at(3, 4, read('a')), at(5, 6, read('a'))]),
    'linearizable',
    'a write takes effect somewhere between its call and its return',
  )
  t.equal(
    checkRegister([at(0, 10, write('a')), at(0, 10, write('b')), at(11, 12, read('a'))]),
    'linearizable',
    'of two writes at one time either may be the later one',
  )
  t.equal(
    checkRegister([at(0, undefined, write('a')), at(50, 51, read()), at(60, 61, read('a'))]),
    'linearizable',
    'one without an outcome may take effect long after',
  )
  t.equal(
    checkRegister([at(0, undefined, write('a')), at(50, 51, read()), at(60, 61, read())]),
    'linearizable',
    'or never',
  )
  t.equal(
    checkRegister([
      at(0, 1, swap(undefined, 'a', true)),
      at(2, 3, swap('b', 'c', false)),
      at(4, 5, read('a')),
    ]),
    'linearizable',
  )
  t.equal(
    checkRegister([at(0, 1, write('a')), at(2, undefined, swap('a', 'b')), at(4, 5, read('b'))]),
    'linearizable',
  )
})

t.test('bad histories', async (t) => {
  t.equal(checkRegister([at(0, 1, write('a')), at(2, 3, read())]), 'violated', 'a lost write')
  t.equal(
    checkRegister([at(0, 1, write('a')), at(2, 3, write('b')), at(4, 5, read('a'))]),
    'violated',
    'a stale read',
  )
  t.equal(
    checkRegister([at(0, 10, write('a')), at(1, 2, read('a')), at(3, 4, read())]),
    'violated',
    'seen and then not seen',
  )
  t.equal(
    checkRegister([at(0, undefined, write('a')), at(1, 2, read('a')), at(3, 4, read())]),
    'violated',
    'the same with an unknown outcome',
  )
  t.equal(
    checkRegister([
      at(0, 10, write('a')),
      at(0, 10, write('b')),
      at(11, 12, read('a')),
      at(13, 14, read('b')),
    ]),
    'violated',
    'two orders at once',
  )
  t.equal(
    checkRegister([at(0, 10, swap(undefined, 'a', true)), at(0, 10, swap(undefined, 'b', true))]),
    'violated',
    'two winners',
  )
  t.equal(
    checkRegister([at(0, 1, write('a')), at(2, 3, swap('a', 'b', false)), at(4, 5, read('a'))]),
    'violated',
    'a comparison that held is said not to have',
  )
  t.equal(
    checkRegister([at(0, undefined, swap('a', 'b')), at(1, 2, read()), at(3, 4, read('b'))]),
    'violated',
    'a comparison that cannot have held',
  )
  t.equal(checkRegister([at(0, 1, read('a')), at(2, 3, write('a'))]), 'violated', 'read from the future')
  t.equal(
    checkRegister([
      at(0, 1, write('a')),
      at(2, 3, write('b')),
      at(4, 5, write('c')),
      at(6, undefined, write('d')),
      at(7, 8, read('d')),
      at(9, 10, read('c')),
    ]),
    'violated',
    'taken twice: an unknown write cannot be undone',
  )
})

interface Span {
  readonly kind: 'read' | 'write' | 'swap'
  readonly value: string
  readonly expected: string
  readonly beforeUs: number
  readonly afterUs: number
  readonly known: boolean
}

const value = fc.constantFrom('a', 'b', 'c')
const spans = fc.array(
  fc.record<Span>({
    kind: fc.constantFrom('read', 'write', 'swap'),
    value,
    expected: value,
    beforeUs: fc.nat(40),
    afterUs: fc.nat(40),
    known: fc.boolean(),
  }),
  { maxLength: 7 },
)

/** Runs them on a real register one after the other, and lets calls and returns lie around these moments. */
function truthful(list: readonly Span[]): HistoryEntry[] {
  let state: string | undefined
  return list.map(({ kind, value, expected, beforeUs, afterUs, known }, number) => {
    const nowUs = (number + 1) * 10
    const returnedUs = known ? nowUs + afterUs : undefined
    if (kind === 'read') return at(nowUs - beforeUs, nowUs + afterUs, read(state))
    if (kind === 'write') {
      state = value
      return at(nowUs - beforeUs, returnedUs, write(value))
    }
    const succeeded = state === expected
    if (succeeded) state = value
    return at(nowUs - beforeUs, returnedUs, swap(expected, value, known ? succeeded : undefined))
  })
}

/** Tries every order of every subset that holds all known operations. */
function naive(history: readonly HistoryEntry[]): boolean {
  const extend = (rest: readonly HistoryEntry[], state: string | undefined): boolean => {
    if (rest.every(({ returnedUs }) => returnedUs === undefined)) return true
    return rest.some((entry) => {
      const others = rest.filter((other) => other !== entry)
      if (others.some(({ returnedUs }) => returnedUs !== undefined && returnedUs < entry.calledUs))
        return false
      const { operation } = entry
      if (operation.kind === 'read') return operation.value === state && extend(others, state)
      if (operation.kind === 'write') return extend(others, operation.value)
      const holds = operation.expected === state
      if (operation.succeeded !== undefined && operation.succeeded !== holds) return false
      return extend(others, holds ? operation.value : state)
    })
  }
  return extend(history, undefined)
}

t.test('whatever a register answered is linearizable', async () => {
  fc.assert(fc.property(spans, (list) => checkRegister(truthful(list)) === 'linearizable'))
})

t.test('the verdict is that of trying every order', async (t) => {
  let violated = 0
  fc.assert(
    fc.property(spans, fc.nat(6), value, (list, which, lie) => {
      const history = truthful(list).map((entry, number) =>
        number === which && entry.operation.kind === 'read' ? { ...entry, operation: read(lie) } : entry,
      )
      const expected = naive(history)
      if (!expected) violated++
      return (checkRegister(history) === 'linearizable') === expected
    }),
    { numRuns: 2_000 },
  )
  t.ok(violated > 0, 'some histories were bad')
})
