import type { Comparison, Operation } from './commands.js'
import { type KeyEvent, type KeyValue, type KeyValueStore, keyValueBytes } from './key-value-store.js'
import type { Leases } from './leases.js'
import type { StateMachineLimits } from './limits.js'
import type { CommandRefusal } from './results.js'

/** Position of the first comparison that does not hold, or -1. */
export function firstFailing(store: KeyValueStore, comparisons: readonly Comparison[]): number {
  return comparisons.findIndex((comparison) => !holds(store.get(comparison.key), comparison))
}

function holds(current: KeyValue | undefined, comparison: Comparison): boolean {
  switch (comparison.target) {
    case 'exists':
      return (current !== undefined) === comparison.exists
    case 'value':
      return equalBytes(current?.value, comparison.operand) === (comparison.operator === '=')
    case 'version':
      return compare(current?.version ?? 0, comparison.operator, comparison.operand)
    case 'create-revision':
      return compare(current?.createRevision ?? 0, comparison.operator, comparison.operand)
    case 'mod-revision':
      return compare(current?.modRevision ?? 0, comparison.operator, comparison.operand)
    case 'lease':
      return compare(current?.lease ?? 0, comparison.operator, comparison.operand)
  }
}

function compare(left: number, operator: '=' | '!=' | '<' | '>', right: number): boolean {
  if (operator === '=') return left === right
  if (operator === '!=') return left !== right
  return operator === '<' ? left < right : left > right
}

function equalBytes(left: Uint8Array | undefined, right: Uint8Array): boolean {
  return left !== undefined && left.length === right.length && left.every((byte, at) => byte === right[at])
}

/**
 * Whether the operations can all be done; asked before the first is, since a transaction happens as a whole
 * or not at all. Counts puts without what the same transaction deletes: simple, and on the safe side.
 */
export function refusalOf(
  store: KeyValueStore,
  leases: Leases,
  operations: readonly Operation[],
  limits: StateMachineLimits,
): CommandRefusal | undefined {
  let bytes = store.bytes
  let keys = store.size
  let deleted = 0
  const attached = new Map<number, number>()
  for (const operation of operations) {
    if (operation.kind !== 'put') {
      deleted += keysToDelete(store, operation, limits.maxDeletedKeys + 1).length
      continue
    }
    const current = store.get(operation.key)
    bytes += keyValueBytes(operation) - (current === undefined ? 0 : keyValueBytes(current))
    keys += current === undefined ? 1 : 0
    if (operation.lease === 0) continue
    if (leases.get(operation.lease) === undefined) return 'lease-unknown'
    attached.set(operation.lease, (attached.get(operation.lease) ?? 0) + 1)
  }
  if (deleted > limits.maxDeletedKeys) return 'too-many-keys'
  if (bytes > limits.maxStoreBytes || keys > limits.maxKeys) return 'store-full'
  for (const [lease, count] of attached) {
    if (leases.keyCount(lease) + count > limits.maxKeysPerLease) return 'leases-full'
  }
  return undefined
}

/** Does them in order, at one revision. */
export function execute(
  store: KeyValueStore,
  leases: Leases,
  operations: readonly Operation[],
  revision: number,
): KeyEvent[] {
  const events: KeyEvent[] = []
  for (const operation of operations) {
    if (operation.kind === 'put') events.push(put(store, leases, operation, revision))
    else {
      const keys = keysToDelete(store, operation, Number.POSITIVE_INFINITY)
      events.push(...deleteKeys(store, leases, keys, revision))
    }
  }
  return events
}

function put(
  store: KeyValueStore,
  leases: Leases,
  { key, value, lease }: Extract<Operation, { kind: 'put' }>,
  revision: number,
): KeyEvent {
  leases.detach(store.get(key)?.lease ?? 0, key)
  leases.attach(lease, key)
  return store.put(key, value, lease, revision)
}

export function deleteKeys(
  store: KeyValueStore,
  leases: Leases,
  keys: readonly string[],
  revision: number,
): KeyEvent[] {
  const events: KeyEvent[] = []
  for (const key of keys) {
    leases.detach(store.get(key)?.lease ?? 0, key)
    const event = store.delete(key, revision)
    if (event !== undefined) events.push(event)
  }
  return events
}

function keysToDelete(
  store: KeyValueStore,
  operation: Exclude<Operation, { kind: 'put' }>,
  limit: number,
): string[] {
  switch (operation.kind) {
    case 'delete':
      return store.get(operation.key) === undefined ? [] : [operation.key]
    case 'delete-prefix':
      return store.keysWithPrefix(operation.prefix, limit)
    case 'delete-range':
      return store.keysBetween(operation.from, operation.to, limit)
  }
}
