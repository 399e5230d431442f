import { Settlement } from '../../conflict/settlement.js'
import type { Standing } from '../../conflict/standing.js'
import { CellKind } from '../../crdt/cell.js'
import type { Partition } from '../../crdt/partition.js'
import {
  isUndecided,
  type ProvisionalState,
  type ProvisionalWithdrawal,
  readProvisional,
} from '../../crdt/provisional.js'
import { topicKey } from '../../gossip/acknowledgements.js'
import { serverOfReplica } from '../../sync/identity.js'
import type { Run } from '../run/run.js'
import { naiveRights } from '../withdrawals/naive-rights.js'
import type { Checker } from './checker.js'

/** The part of a settlement that is looked at. */
interface Looked {
  partition: Partition
  standing: Standing
  close(withdrawal: ProvisionalWithdrawal, state: ProvisionalState, ...rest: unknown[]): void
}

/**
 * Looks at each withdrawal that is settled when that is decided. By the server that made it and nobody else (W5),
 * which knows all that its former incarnations wrote, if one of them made it (W6), and is certain of its own writes
 * (W7). It is compensated, unless a person has said so, only because more was taken than there is, every debt being
 * explained by open withdrawals (W4), counted here anew from the cells.
 */
export function soundCompensations(run: Run): Checker {
  const settlement = Settlement.prototype as unknown as Looked
  run.override(settlement, 'close', (original) => {
    return function (this: Looked, withdrawal, state, ...rest) {
      look(run, this, withdrawal, state)
      original.call(this, withdrawal, state, ...rest)
    }
  })
  return { invariants: ['W4', 'W5', 'W6', 'W7'] }
}

function look(
  run: Run,
  { partition, standing }: Looked,
  withdrawal: ProvisionalWithdrawal,
  state: ProvisionalState,
): void {
  const server = run.cluster.kernel.owner?.server
  if (server === undefined) return
  const { id, replica, storage, item } = withdrawal
  const name = run.options.names[server]!
  const what = `${name} brings ${id} to ${state}`
  if (serverOfReplica(replica) !== name) run.fail('W5', `${what}, which ${replica} made`, server)
  const { node } = run.cluster.servers[server]!
  if (node?.status().numberingHeld) run.fail('W7', `${what} before it has heard from its peers`, server)
  if (replica !== partition.ownReplica.replica) {
    const elsewhere = run.holdings.elsewhere(server, topicKey(partition.name, replica))
    if (elsewhere > partition.known(replica)) {
      run.fail('W6', `${what}, though others know more of ${replica}`, server)
    }
  }
  if (state !== 'compensated' || withdrawal.state === 'parked') return
  const rights = naiveRights(partition, storage, item)
  let left = 0n
  for (const [holder, held] of rights) if (held < 0n || !standing.isSuperseded(holder)) left += held
  if (left >= 0n) run.fail('W4', `${what} although ${left} ${item} are left`, server)
  for (const { replica: maker, amount } of undecided(partition, storage, item)) {
    rights.set(maker, (rights.get(maker) ?? 0n) + BigInt(amount))
  }
  for (const [holder, held] of rights) {
    if (held < 0n) run.fail('W4', `${what} although nothing explains the debt of ${holder}`, server)
  }
}

function* undecided(partition: Partition, storage: string, item: string): Iterable<ProvisionalWithdrawal> {
  for (const entry of partition.table.findNamespace(CellKind.provisional, storage)?.entries.values() ?? []) {
    const withdrawal = readProvisional(partition, entry)?.withdrawal
    if (withdrawal?.item === item && isUndecided(withdrawal.state)) yield withdrawal
  }
}
