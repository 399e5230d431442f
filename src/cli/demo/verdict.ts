import { isChest } from './chests.js'
import type { LoggedOperation } from './operation-log.js'

/** Final quantities as one server shows them; the key is `itemKey(storage, item)`. */
export type Quantities = ReadonlyMap<string, bigint>

export interface Verdict {
  /** Items of acknowledged deposits that are nowhere, or that came back to none: below what can be explained. */
  readonly lost: bigint
  /** Items that nobody put in: above what can be explained. */
  readonly duplicated: bigint
  /** Of the operations that the kill left unknown: how the final quantities settle them. */
  readonly unknown: { readonly happened: number; readonly didNot: number; readonly unclear: number }
  /** Names of items that are wrong, with what was expected; for people, at most a few. */
  readonly wrong: readonly string[]
}

/** Above this many unknown operations on one item their outcomes are taken as a range, not one by one. */
const MAX_SUBSETS_OF = 12
const MAX_WRONG_SHOWN = 10

export function itemKey(storage: string, item: string): string {
  return `${storage} ${item}`
}

/** The storage and the item of an `itemKey`: ids of storages have no spaces. */
export function placeOf(key: string): [storage: string, item: string] {
  const end = key.indexOf(' ')
  return [key.slice(0, end), key.slice(end + 1)]
}

/**
 * Judges final quantities by what the servers' own logs acknowledge, and by nothing that the mesh says.
 *
 * No log tells what transfers have moved from chest to chest; that only the mesh could say. So all chests are one
 * account for each kind of item. A move is one batch within one partition: it takes from one chest what it gives to
 * another, so that it leaves the sum as it is at every moment, and a sum that has changed is an item lost or doubled.
 */
export function judge(logs: readonly (readonly LoggedOperation[])[], shown: readonly Quantities[]): Verdict {
  const accounts = readAccounts(logs)
  const finals = shown.map(withChestsAsOne)
  for (const quantities of finals) {
    for (const key of quantities.keys()) accountOf(accounts, key)
  }
  let lost = 0n
  let duplicated = 0n
  const unknown = { happened: 0, didNot: 0, unclear: 0 }
  const wrong: string[] = []
  for (const [key, account] of accounts) {
    const seen = finals.map((quantities) => quantities.get(key) ?? 0n)
    const deviations = seen.map((quantity) => deviation(account, quantity))
    // The servers should agree; where they do not, each error counts.
    const missing = largest(deviations.map((value) => -value))
    const surplus = largest(deviations)
    lost += missing
    duplicated += surplus
    if ((missing > 0n || surplus > 0n) && wrong.length < MAX_WRONG_SHOWN)
      wrong.push(`${key}: servers show ${seen.join(', ')}, acknowledged ${account.acknowledged}`)
    settle(account, seen[0] ?? 0n, unknown)
  }
  return { lost, duplicated, unknown, wrong }
}

const ALL_CHESTS = 'all-chests'

function accountKey(storage: string, item: string): string {
  return itemKey(isChest(storage) ? ALL_CHESTS : storage, item)
}

function withChestsAsOne(quantities: Quantities): Quantities {
  const folded = new Map<string, bigint>()
  for (const [key, quantity] of quantities) {
    const account = accountKey(...placeOf(key))
    folded.set(account, (folded.get(account) ?? 0n) + quantity)
  }
  return folded
}

interface Account {
  /** Acknowledged deposits less acknowledged withdrawals. */
  acknowledged: bigint
  /** Signed amounts of operations that may or may not have happened. */
  readonly unknown: bigint[]
}

function readAccounts(logs: readonly (readonly LoggedOperation[])[]): Map<string, Account> {
  const accounts = new Map<string, Account>()
  for (const log of logs) {
    for (const { kind, storage, item, amount, outcome } of log) {
      const account = accountOf(accounts, accountKey(storage, item))
      const signed = kind === 'deposit' ? BigInt(amount) : -BigInt(amount)
      if (outcome === 'acknowledged') account.acknowledged += signed
      if (outcome === 'unknown') account.unknown.push(signed)
    }
  }
  return accounts
}

function accountOf(accounts: Map<string, Account>, key: string): Account {
  let account = accounts.get(key)
  if (!account) {
    account = { acknowledged: 0n, unknown: [] }
    accounts.set(key, account)
  }
  return account
}

/** How far a quantity is from the nearest one that some outcome of the unknown operations explains. */
function deviation({ acknowledged, unknown }: Account, quantity: bigint): bigint {
  if (unknown.length > MAX_SUBSETS_OF) {
    const low = acknowledged + sum(unknown.filter((amount) => amount < 0n))
    const high = acknowledged + sum(unknown.filter((amount) => amount > 0n))
    return quantity < low ? quantity - low : quantity > high ? quantity - high : 0n
  }
  let nearest: bigint | undefined
  for (const subset of subsets(unknown)) {
    const distance = quantity - acknowledged - sum(subset)
    if (nearest === undefined || absolute(distance) < absolute(nearest)) nearest = distance
  }
  return nearest ?? 0n
}

function settle(
  { acknowledged, unknown }: Account,
  quantity: bigint,
  counts: Mutable<Verdict['unknown']>,
): void {
  if (unknown.length === 0) return
  const explanations =
    unknown.length > MAX_SUBSETS_OF
      ? []
      : [...subsets(unknown)].filter((subset) => acknowledged + sum(subset) === quantity)
  const [only, ...others] = explanations
  if (only === undefined || others.some(({ length }) => length !== only.length)) {
    counts.unclear += unknown.length
    return
  }
  counts.happened += only.length
  counts.didNot += unknown.length - only.length
}

function* subsets(amounts: readonly bigint[]): Generator<bigint[]> {
  for (let mask = 0; mask < 1 << amounts.length; mask++) {
    yield amounts.filter((_, position) => (mask & (1 << position)) !== 0)
  }
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((total, amount) => total + amount, 0n)
}

/** Zero when none is positive. */
function largest(values: readonly bigint[]): bigint {
  let most = 0n
  for (const value of values) if (value > most) most = value
  return most
}

function absolute(value: bigint): bigint {
  return value < 0n ? -value : value
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] }
