import { CellKind } from '../crdt/cell.js'
import { addQuantities, narrowQuantity, subtractQuantities } from '../crdt/column.js'
import { MAX_BATCH_WRITES } from '../crdt/limits.js'
import type { OwnWrite } from '../crdt/own-writes.js'
import type { Partition } from '../crdt/partition.js'
import type { Quantity } from '../crdt/rights.js'
import { checkAmount, checkStorageId } from '../sync/checks.js'
import { InsufficientRightsError, InvalidArgumentError } from '../sync/errors.js'
import { canonicalItemKey, type ItemKey } from '../sync/item-key.js'
import { rightsHolders } from './rights-holders.js'

/** One part of a batch: exactly one of `deposit` and `withdraw`. */
export interface BatchWrite {
  readonly item: string | ItemKey
  readonly deposit?: number | bigint
  readonly withdraw?: number | bigint
  /** Id of another storage in the same partition; left out: the storage whose batch it is. */
  readonly storage?: string
}

interface Change {
  readonly storage: string
  readonly item: string
  deposited: Quantity
  withdrawn: Quantity
}

/**
 * Checks a batch against this server's rights: all of it is backed, or none of it happens.
 * @throws InvalidArgumentError, InsufficientRightsError
 */
export function prepareBatch(
  partition: Partition,
  storage: string,
  writes: readonly BatchWrite[],
  spendable: (entry: number) => Quantity,
): OwnWrite[] {
  const changes = collect(storage, writes)
  const { table } = partition
  return changes.map(({ deposited, withdrawn, ...place }): OwnWrite => {
    const entry = table.entry(table.namespace(CellKind.counter, place.storage), place.item)
    const rights = withdrawn > 0 ? spendable(entry) : 0
    if (withdrawn > 0 && subtractQuantities(addQuantities(rights, deposited), withdrawn) < 0) {
      const holders = rightsHolders(partition.rightsOf(entry), partition.ownReplica.replica)
      const visible = BigInt(table.total(entry))
      throw new InsufficientRightsError(
        place.item,
        BigInt(withdrawn),
        visible > 0n ? visible : 0n,
        BigInt(rights),
        holders,
      )
    }
    return { entry, ...(deposited > 0 && { deposited }), ...(withdrawn > 0 && { withdrawn }) }
  })
}

/** Says what a batch is, for its operation id. @throws InvalidArgumentError */
export function batchContent(storage: string, writes: readonly BatchWrite[]): string {
  return `batch ${collect(storage, writes).map(describeChange).sort().join(', ')}`
}

/** One change per item, however often the batch names it. */
function collect(storage: string, writes: readonly BatchWrite[]): Change[] {
  if (!Array.isArray(writes) || writes.length === 0)
    throw new InvalidArgumentError('batch: at least one write')
  const changes = new Map<string, Change>()
  for (const write of writes) {
    const { item, deposit, withdraw, storage: other, ...unknown } = write
    const [name] = Object.keys(unknown)
    if (name !== undefined) throw new InvalidArgumentError(`batch: unknown field ${name}`)
    if ((deposit === undefined) === (withdraw === undefined)) {
      throw new InvalidArgumentError('batch: each write has exactly one of deposit and withdraw')
    }
    const place = {
      storage: other === undefined ? storage : checkStorageId(other),
      item: canonicalItemKey(item),
    }
    const key = `${place.storage}\n${place.item}`
    const change = changes.get(key) ?? { ...place, deposited: 0, withdrawn: 0 }
    changes.set(key, change)
    if (deposit !== undefined)
      change.deposited = addQuantities(change.deposited, narrowQuantity(checkAmount(deposit)))
    if (withdraw !== undefined)
      change.withdrawn = addQuantities(change.withdrawn, narrowQuantity(checkAmount(withdraw)))
  }
  // One place is kept for the operation id.
  if (changes.size >= MAX_BATCH_WRITES)
    throw new InvalidArgumentError(`batch: fewer than ${MAX_BATCH_WRITES} items`)
  return [...changes.values()]
}

function describeChange({ storage, item, deposited, withdrawn }: Change): string {
  return `${storage} ${item} +${deposited} -${withdrawn}`
}
