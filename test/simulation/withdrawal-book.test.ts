import t from 'tap'
import type { Withdrawal } from '../../src/node/withdrawal.js'
import { Ledger } from '../../src/simulation/run/ledger.js'
import { WithdrawalBook } from '../../src/simulation/run/withdrawal-book.js'

const backed = { kind: 'backed', id: undefined } as Withdrawal
const provisional = (id: string) => ({ kind: 'provisional', id }) as Withdrawal

function asked() {
  const entry = new Ledger().record({
    kind: 'withdraw',
    storage: 'bank',
    item: 'sim:iron',
    amount: 4n,
    server: 0,
    atUs: 0,
  })
  return { book: new WithdrawalBook(), entry }
}

t.test('the answer before a crash is forgotten when it was not durable (grant-hunt, seed 3)', async (t) => {
  const { book, entry } = asked()
  book.made(entry, backed)
  t.match(entry, { provisional: undefined, isOptional: false })
  book.made(entry, provisional('w1'))
  t.match(entry, { provisional: 'w1', isOptional: true })
  book.made(entry, provisional('w1'))
  book.made(entry, backed)
  t.match(entry, { provisional: undefined, isOptional: false })
  t.match(book.counts, { backed: 1, provisional: 0 })
})

t.test('a durable answer stands', async (t) => {
  const { book, entry } = asked()
  book.made(entry, backed)
  entry.durableUs = 10
  book.made(entry, provisional('w1'))
  t.match(entry, { provisional: undefined, isOptional: false })
  t.match(book.counts, { backed: 1, provisional: 0 })
})
