import { CellKind } from '../../crdt/cell.js'
import type { Partition } from '../../crdt/partition.js'
import { type ProvisionalWithdrawal, readProvisional } from '../../crdt/provisional.js'
import type { MeshNode } from '../../node/mesh-node.js'
import { worldOfPartition } from '../../node/partitions.js'
import { FrameError } from '../../sync/errors.js'
import { coreOf } from '../core-of.js'

/** The partitions of a node, looked at from outside. */
export function partitionsOf(node: MeshNode): Iterable<Partition> {
  return coreOf(node).partitions()
}

/** Every provisional withdrawal that a node knows of, whoever made it and however it ended. */
export function* provisionalsOf(
  node: MeshNode,
): IterableIterator<{ world: string | undefined; withdrawal: ProvisionalWithdrawal }> {
  for (const partition of partitionsOf(node)) {
    const world = worldOfPartition(partition.name)
    for (const namespace of partition.table.namespaces.values()) {
      if (namespace.kind !== CellKind.provisional) continue
      for (const entry of namespace.entries.values()) {
        const withdrawal = readable(partition, entry)
        if (withdrawal) yield { world, withdrawal }
      }
    }
  }
}

/**
 * Where the items of one kind in one storage went, summed naively over the cells and the own writes that no
 * journal holds yet. Rights move for reserves at any time: those that are on their way to the journal belong to nobody.
 */
export interface Sums {
  readonly world: string | undefined
  readonly storage: string
  readonly item: string
  readonly deposited: bigint
  readonly withdrawn: bigint
  readonly compensated: bigint
  /** Held by anyone, or on their way from this server to another one. */
  readonly rightsSum: bigint
  readonly quantity: bigint
}

export function* sumsOf(
  node: MeshNode,
  /** Which of them, by the order in which the node came to know them; left out: all. */
  isWanted: (position: number) => boolean = () => true,
): IterableIterator<Sums> {
  let position = 0
  for (const partition of partitionsOf(node)) {
    const { table } = partition
    // Transfers that run in a ring never rest: what they have moved and no journal holds yet shows in quantities.
    const underWay = partition.generationsUnderWay().flat()
    for (const { kind, name: storage, entries } of table.namespaces.values()) {
      if (kind !== CellKind.counter) continue
      for (const entry of entries.values()) {
        if (!isWanted(position++)) continue
        const item = table.keyOf(entry)
        const sums = { deposited: 0n, withdrawn: 0n, compensated: 0n, rightsSum: 0n }
        for (const cell of table.cellsOf(entry)) {
          const { deposited, withdrawn, compensated } = table.counterValue(cell)
          sums.deposited += BigInt(deposited)
          sums.withdrawn += BigInt(withdrawn)
          sums.compensated += BigInt(compensated)
        }
        for (const change of underWay) {
          if (change.entry !== entry) continue
          sums.deposited += BigInt(change.deposited)
          sums.withdrawn += BigInt(change.withdrawn)
          sums.compensated += BigInt(change.compensated)
        }
        sums.rightsSum += BigInt(partition.own.grantsUnderWay(entry))
        for (const held of partition.rightsOf(entry).values()) sums.rightsSum += BigInt(held)
        const quantity = BigInt(table.total(entry))
        yield { world: worldOfPartition(partition.name), storage, item, ...sums, quantity }
      }
    }
  }
}

/** What is written wrongly counts for nothing, as in the product. */
function readable(partition: Partition, entry: number): ProvisionalWithdrawal | undefined {
  try {
    return readProvisional(partition, entry)?.withdrawal
  } catch (error) {
    if (error instanceof FrameError) return undefined
    throw error
  }
}
