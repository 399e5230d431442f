import { CellKind } from '../../crdt/cell.js'
import { isUndecided } from '../../crdt/provisional.js'
import type { MeshNode } from '../../node/mesh-node.js'
import { keyOf, type LedgerEntry } from '../run/ledger.js'
import type { Run } from '../run/run.js'
import { partitionsOf, provisionalsOf, sumsOf } from '../withdrawals/provisionals.js'
import type { Checker } from './checker.js'

/** An observation looks at one in so many items: all of them every two seconds, and together at the end. */
const TURNS = 8

/**
 * At any moment a server counts as many rights to an item, those included that it is giving away, as it sees of it
 * (W13). What is left of withdrawals when everything is at rest: nothing is provisional any more (W9); nothing but
 * provisional withdrawals was compensated, each once (W3, W8); of every item there is as much as was deposited less
 * what was withdrawn and not compensated, and never less than nothing (W13). Tells the ledger how
 * provisional withdrawals ended, so that conservation (C1) is exact.
 */
export function settledWithdrawals(run: Run): Checker {
  let turn = 0
  return {
    invariants: ['W3', 'W8', 'W9', 'W13'],
    observe() {
      turn = (turn + 1) % TURNS
      for (const { name, node, number } of run.cluster.servers) {
        if (node === undefined) continue
        for (const { item, quantity, rightsSum, storage } of sumsOf(
          node,
          (position) => position % TURNS === turn,
        )) {
          if (rightsSum === quantity) continue
          run.fail('W13', `rights to ${rightsSum} of ${quantity} ${item} in ${storage} on ${name}`, number)
        }
      }
    },
    atEnd() {
      const outcomes = new Map<string, string>()
      for (const server of run.cluster.servers) {
        const { node } = server
        if (node === undefined) continue
        const compensated = new Map<string, bigint>()
        for (const { world, withdrawal } of provisionalsOf(node)) {
          const { id, storage, item, amount, state } = withdrawal
          outcomes.set(id, state)
          if (isUndecided(state)) run.fail('W9', `withdrawal ${id} is still ${state}`, server.number)
          if (state !== 'compensated' && state !== 'acknowledged') continue
          const key = `${world} ${keyOf(storage, item)}`
          compensated.set(key, (compensated.get(key) ?? 0n) + BigInt(amount))
        }
        for (const entry of sumsOf(node)) {
          const { storage, item, quantity } = entry
          const where = `${item} in ${storage} on ${server.name}`
          const expected = compensated.get(`${entry.world} ${keyOf(storage, item)}`) ?? 0n
          if (entry.compensated !== expected) {
            const detail = `${entry.compensated} ${where} were compensated, ${expected} withdrawals say so`
            run.fail(entry.compensated > expected ? 'W8' : 'W3', detail, server.number)
          }
          if (quantity < 0n) run.fail('W13', `there are ${quantity} ${where}`, server.number)
          if (entry.deposited - entry.withdrawn + entry.compensated !== quantity)
            run.fail('W13', `the totals of ${quantity} ${where} do not add up`, server.number)
        }
      }
      for (const server of run.cluster.servers) if (server.node) checkRights(run, server.number, server.node)
      for (const entry of run.ledger.entries) settle(run, entry, outcomes)
    },
  }
}

/** Rights(j) below 0 is a debt, and at rest there are none left: whatever was spent was there. */
function checkRights(run: Run, server: number, node: MeshNode): void {
  for (const partition of partitionsOf(node)) {
    for (const { kind, name, entries } of partition.table.namespaces.values()) {
      if (kind !== CellKind.counter) continue
      for (const [item, entry] of entries) {
        for (const [replica, held] of partition.rightsOf(entry)) {
          if (held < 0) run.fail('W13', `${replica} has rights to ${held} ${item} in ${name}`, server)
        }
      }
    }
  }
}

function settle(run: Run, entry: LedgerEntry, outcomes: ReadonlyMap<string, string>): void {
  if (entry.provisional === undefined) return
  const state = outcomes.get(entry.provisional)
  const { counts } = run.withdrawals
  // Withdrawal and cell are one batch: without the cell there was no withdrawal.
  entry.isOptional = state === 'kept'
  if (state === 'compensated' || state === 'acknowledged') {
    counts.compensated += 1
    entry.void = true
  } else if (state === 'confirmed' || state === 'kept') counts[state] += 1
}
