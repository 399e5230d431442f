import { Settlement } from '../../conflict/settlement.js'
import { CellKind } from '../../crdt/cell.js'
import type { Partition } from '../../crdt/partition.js'
import { grantedTo } from '../../crdt/rights.js'
import { serverOfReplica } from '../../sync/identity.js'
import type { Run } from '../run/run.js'
import { partitionsOf } from '../withdrawals/provisionals.js'
import type { Checker } from './checker.js'

/** What a donor has answered to one that asked it for rights. */
interface Told {
  readonly partition: string
  readonly storage: string
  readonly item: string
  readonly donor: string
  readonly receiver: string
  readonly total: bigint
}

/** A grant that was answered is in the donor's journal: the donor still knows of it after any crash (J1). */
export function grantsKept(run: Run): Checker {
  /** Server name → what it has told. */
  const told = new Map<string, Map<string, Told>>()
  run.override(Settlement.prototype, 'borrowAnswered', (original) => {
    return function (this: Settlement, donor, answer, nowMs) {
      const { partition } = this as unknown as { partition: Partition }
      const receiver = partition.ownReplica.replica
      const { storage, item } = answer
      const total = BigInt(answer.total)
      const name = serverOfReplica(donor)
      const answers = told.get(name) ?? new Map<string, Told>()
      told.set(name, answers)
      const key = [partition.name, storage, item, donor, receiver].join('\n')
      if (total > (answers.get(key)?.total ?? 0n))
        answers.set(key, { partition: partition.name, storage, item, donor, receiver, total })
      original.call(this, donor, answer, nowMs)
    }
  })
  run.onRunning((server, node) => {
    if (run.options.durability[server.number] === 'memory' || run.ledger.hasForgotten(server.number)) {
      told.delete(server.name)
      return
    }
    const partitions = new Map([...partitionsOf(node)].map((partition) => [partition.name, partition]))
    for (const answer of told.get(server.name)?.values() ?? []) {
      const kept = grantedBy(partitions.get(answer.partition)!, answer)
      if (kept >= answer.total) continue
      const { donor, receiver, item, storage, total } = answer
      const detail = `${donor} answered ${receiver} that it has granted ${total} ${item} in ${storage}, and knows of ${kept} after a restart`
      run.fail('J1', detail, server.number)
    }
  })
  return { invariants: ['J1'] }
}

function grantedBy(partition: Partition, { storage, item, donor, receiver }: Told): bigint {
  const { table } = partition
  const entry = table.findNamespace(CellKind.counter, storage)?.entries.get(item)
  const state = partition.replica(donor)
  const cell = entry === undefined || state === undefined ? -1 : table.findCell(entry, state.index)
  return cell < 0 ? 0n : BigInt(grantedTo(table.counterValue(cell).granted, receiver))
}
