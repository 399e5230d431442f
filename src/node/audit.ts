import { type AuditSources, ItemAuditor, type ItemSums } from '../audit/item-sums.js'
import { counterEntries } from '../audit/survey.js'
import type { Partition } from '../crdt/partition.js'
import type { Scheduler } from '../environment/environment.js'
import { nextTurn } from '../environment/next-turn.js'
import { worldOfPartition } from './partitions.js'

/**
 * Where the items of one kind in one storage went, as this server sees it at one moment. Always
 * deposited − withdrawn + compensated + underWay = quantity = rightsSum; quantity + provisional is not negative
 * unless news is missing. Servers that have seen the same agree on every number.
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
  /** What own writes on their way to the journal add, or take when negative. */
  readonly underWay: bigint
  /** Withdrawals of any server that are not settled yet, as far as seen here. */
  readonly provisional: bigint
  /** Rights of all servers, and the true sum of items; own writes under way included. Either may be negative. */
  readonly rightsSum: bigint
  readonly quantity: bigint
}

/** Items looked at in one turn of the event loop: a millisecond or two. */
const ITEMS_A_TURN = 500

/** Every item once, each as it was at the moment when it was looked at. */
export async function* auditItems(
  sources: AuditSources,
  scheduler: Scheduler,
  signal: AbortSignal | undefined,
): AsyncGenerator<AuditEntry> {
  const entries = counterEntries(sources.partitions.values())
  for (;;) {
    const looked = lookAtSome(sources, entries)
    if (looked.length === 0) return
    for (const entry of looked) {
      if (signal?.aborted) return
      yield entry
    }
    await nextTurn(scheduler)
  }
}

function lookAtSome(sources: AuditSources, entries: IterableIterator<[Partition, number]>): AuditEntry[] {
  const looked: AuditEntry[] = []
  const auditors = new Map<Partition, ItemAuditor>()
  while (looked.length < ITEMS_A_TURN) {
    const next = entries.next()
    if (next.done) break
    const [partition, entry] = next.value
    const auditor = auditors.get(partition) ?? new ItemAuditor(sources, partition)
    auditors.set(partition, auditor)
    looked.push(auditEntry(auditor.look(entry)))
  }
  return looked
}

export function auditEntry({ partition, rights, ...sums }: ItemSums): AuditEntry {
  return { ...sums, world: worldOfPartition(partition), rightsSum: rights }
}
