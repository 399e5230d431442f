import { CellKind } from '../crdt/cell.js'
import type { OwnWrite } from '../crdt/own-writes.js'
import type { Partition } from '../crdt/partition.js'
import {
  isUndecided,
  isUnfinished,
  PROVISIONAL_KEPT_MS,
  type ProvisionalWithdrawal,
  provisionalToValue,
  readProvisional,
} from '../crdt/provisional.js'
import { FrameError } from '../sync/errors.js'
import { type ReplicaId, serverOfReplica } from '../sync/identity.js'

interface Known {
  withdrawal: ProvisionalWithdrawal
  expiresAtMs: number
}

/**
 * The provisional withdrawals of a partition by item, read from their cells: all servers' undecided ones, and of
 * those that this server made, in whichever incarnation, also those that the application has not acknowledged yet.
 */
export class ProvisionalIndex {
  private readonly byItem = new Map<number, Map<string, ProvisionalWithdrawal>>()
  private readonly own = new Map<string, Known>()

  constructor(private readonly partition: Partition) {
    for (const namespace of partition.table.namespaces.values()) {
      if (namespace.kind !== CellKind.provisional) continue
      for (const entry of namespace.entries.values()) this.read(entry)
    }
  }

  /** Undecided withdrawals of an item by anyone. */
  undecided(item: number): ProvisionalWithdrawal[] {
    return [...(this.byItem.get(item)?.values() ?? [])]
  }

  /** Own withdrawals that are not done with. */
  *unfinished(): IterableIterator<ProvisionalWithdrawal> {
    for (const { withdrawal } of this.own.values()) yield withdrawal
  }

  find(id: string): ProvisionalWithdrawal | undefined {
    return this.own.get(id)?.withdrawal
  }

  /** As its cells say, whoever made it; undefined when there is none of that id. @throws FrameError */
  lookup(storage: string, id: string): ProvisionalWithdrawal | undefined {
    const { table } = this.partition
    const entry = table.findNamespace(CellKind.provisional, storage)?.entries.get(id)
    return entry === undefined ? undefined : readProvisional(this.partition, entry)?.withdrawal
  }

  itemEntry({ storage, item }: { storage: string; item: string }): number {
    return this.partition.table.entry(this.partition.table.namespace(CellKind.counter, storage), item)
  }

  /** Items with undecided withdrawals. */
  items(): IterableIterator<number> {
    return this.byItem.keys()
  }

  /** Reads a provisional entry again after a change; undefined when it makes no sense here. */
  read(entry: number): { item: number; withdrawal: ProvisionalWithdrawal } | undefined {
    try {
      const found = readProvisional(this.partition, entry)
      if (!found) return undefined
      const { withdrawal, expiresAtMs } = found
      const item = this.itemEntry(withdrawal)
      this.keep(item, withdrawal, expiresAtMs)
      return { item, withdrawal }
    } catch (error) {
      // A cell of a later version: it explains nothing here, so nobody is compensated on its account.
      if (error instanceof FrameError) return undefined
      throw error
    }
  }

  /** The write that makes or changes an own withdrawal; it counts from now on. */
  write(withdrawal: ProvisionalWithdrawal, nowMs: number): OwnWrite {
    const { table } = this.partition
    const entry = table.entry(table.namespace(CellKind.provisional, withdrawal.storage), withdrawal.id)
    // Never earlier than before: see Partition.removeExpired.
    const expiresAtMs = Math.max(nowMs + PROVISIONAL_KEPT_MS, this.own.get(withdrawal.id)?.expiresAtMs ?? 0)
    this.keep(this.itemEntry(withdrawal), withdrawal, expiresAtMs)
    return { entry, object: provisionalToValue(withdrawal, expiresAtMs, this.self) }
  }

  /** Writes for own withdrawals whose cells would expire although they are not done with. */
  renewals(nowMs: number, limit: number): OwnWrite[] {
    const writes: OwnWrite[] = []
    for (const { withdrawal, expiresAtMs } of this.own.values()) {
      if (writes.length >= limit) break
      if (expiresAtMs - nowMs < PROVISIONAL_KEPT_MS / 2) writes.push(this.write(withdrawal, nowMs))
    }
    return writes
  }

  /** Made by this server, perhaps in a former incarnation. */
  isOwn({ replica }: ProvisionalWithdrawal): boolean {
    return replica === this.self || serverOfReplica(replica) === serverOfReplica(this.self)
  }

  /** Its newest state is not durable here yet. */
  isUnderWay({ storage, id }: ProvisionalWithdrawal): boolean {
    const { table, own } = this.partition
    const entry = table.findNamespace(CellKind.provisional, storage)?.entries.get(id)
    return entry !== undefined && own.pendingObject(entry) !== undefined
  }

  private get self(): ReplicaId {
    return this.partition.ownReplica.replica
  }

  private keep(item: number, withdrawal: ProvisionalWithdrawal, expiresAtMs: number): void {
    const { id, state } = withdrawal
    if (this.isOwn(withdrawal)) {
      if (isUnfinished(state)) this.own.set(id, { withdrawal, expiresAtMs })
      else this.own.delete(id)
    }
    const known = this.byItem.get(item)
    if (isUndecided(state)) {
      if (known) known.set(id, withdrawal)
      else this.byItem.set(item, new Map([[id, withdrawal]]))
    } else if (known?.delete(id) && known.size === 0) this.byItem.delete(item)
  }
}
