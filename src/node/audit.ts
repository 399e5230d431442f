import { CellKind } from '../crdt/cell.js'
import { addQuantities, subtractQuantities } from '../crdt/column.js'
import type { Partition } from '../crdt/partition.js'
import { isUndecided, provisionalFromValue } from '../crdt/provisional.js'
import type { Quantity } from '../crdt/rights.js'
import { FrameError } from '../sync/errors.js'
import { worldOfPartition } from './partitions.js'

/**
 * Where the items of one kind in one storage went, as this server sees it. At rest, with all writes durable,
 * deposited − withdrawn + compensated = rightsSum = quantity, and quantity is not negative; all servers that have
 * seen the same agree on every number.
 */
export interface AuditEntry {
  readonly storage: string
  /** Undefined: the storages shared by all servers. */
  readonly world: string | undefined
  readonly item: string
  /** Sums over all servers of what is durable here. */
  readonly deposited: bigint
  readonly withdrawn: bigint
  readonly compensated: bigint
  /** Withdrawals of any server that are not settled yet, as far as seen here. */
  readonly provisional: bigint
  /** Rights of all servers, and the true sum of items; own writes under way included. Either may be negative. */
  readonly rightsSum: bigint
  readonly quantity: bigint
}

/** Walks every item of a partition once; costs as much as there are cells. */
export function auditPartition(partition: Partition): AuditEntry[] {
  const { table } = partition
  const provisional = provisionalByItem(partition)
  const world = worldOfPartition(partition.name)
  const entries: AuditEntry[] = []
  for (const { kind, name: storage, entries: items } of table.namespaces.values()) {
    if (kind !== CellKind.counter) continue
    for (const [item, entry] of items) {
      entries.push({
        storage,
        world,
        item,
        ...totals(partition, entry),
        provisional: BigInt(provisional.get(`${storage}\n${item}`) ?? 0),
        rightsSum: BigInt(sum([...partition.rightsOf(entry).values(), ...grantsUnderWay(partition, entry)])),
        quantity: BigInt(table.total(entry)),
      })
    }
  }
  return entries
}

/** Rights that this server has given away and that nobody has before the grant is durable. */
function grantsUnderWay(partition: Partition, entry: number): Quantity[] {
  const { own, table } = partition
  return partition
    .replicas()
    .filter(({ replica }) => replica !== partition.ownReplica.replica)
    .map(({ replica }) =>
      subtractQuantities(own.grantedTotal(entry, replica), table.ownGrantTo(entry, replica)),
    )
}

function totals({ table }: Partition, entry: number) {
  const cells = [...table.cellsOf(entry)].map((cell) => table.counterValue(cell))
  return {
    deposited: BigInt(sum(cells.map(({ deposited }) => deposited))),
    withdrawn: BigInt(sum(cells.map(({ withdrawn }) => withdrawn))),
    compensated: BigInt(sum(cells.map(({ compensated }) => compensated))),
  }
}

function provisionalByItem(partition: Partition): Map<string, Quantity> {
  const { table, own } = partition
  const amounts = new Map<string, Quantity>()
  for (const { kind, name: storage, entries } of table.namespaces.values()) {
    if (kind !== CellKind.provisional) continue
    for (const [id, entry] of entries) {
      const [cell] = table.cellsOf(entry)
      const value = own.pendingObject(entry) ?? (cell === undefined ? undefined : table.objectValue(cell))
      if (value === undefined) continue
      try {
        const { state, item, amount } = provisionalFromValue(value, { id, storage, replica: '' })
        const key = `${storage}\n${item}`
        if (isUndecided(state)) amounts.set(key, addQuantities(amounts.get(key) ?? 0, amount))
      } catch (error) {
        // A cell of a later version: it explains nothing here.
        if (!(error instanceof FrameError)) throw error
      }
    }
  }
  return amounts
}

function sum(amounts: Iterable<Quantity>): Quantity {
  let total: Quantity = 0
  for (const amount of amounts) total = addQuantities(total, amount)
  return total
}
