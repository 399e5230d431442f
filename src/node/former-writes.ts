import type { Partition } from '../crdt/partition.js'
import type { DigestMessage } from '../gossip/messages.js'
import { type ReplicaId, serverOfReplica } from '../sync/identity.js'

/**
 * Whether this server knows all that its former incarnations wrote. What they wrote last may be known to others
 * only; it is all here once every other known server has told in this run how far it knows them, and that has been
 * merged, and not before the grace time is over: a backup knows few of the others. Only then may their open
 * withdrawals be settled: one of them might be settled already (invariant W6). And only then is it certain whether
 * what a restored backup holds without a number was numbered by them.
 */
export class FormerWrites {
  /** By partition: the servers that have told. */
  private readonly heard = new Map<string, Set<string>>()
  /** By partition: how far anybody knows each former replica. */
  private readonly owed = new Map<string, Map<ReplicaId, number>>()
  private isGraceOver = false

  constructor(
    private readonly self: string,
    /** Servers that host a partition, as far as known. */
    private readonly knownServers: (partition: string) => readonly string[],
  ) {}

  heardFrom(server: string, digest: DigestMessage): void {
    for (const { partition, rows } of digest.partitions) {
      entryOf(this.heard, partition, () => new Set()).add(server)
      const owed = entryOf(this.owed, partition, () => new Map<ReplicaId, number>())
      for (const { replica, first, second } of rows) {
        if (serverOfReplica(replica) !== this.self) continue
        owed.set(replica, Math.max(first, second, owed.get(replica) ?? 0))
      }
    }
  }

  /** The servers that a backup did not know of have had their time to be heard of. */
  graceIsOver(): void {
    this.isGraceOver = true
  }

  areKnown(partition: Partition): boolean {
    if (!this.isGraceOver) return false
    const { name } = partition
    const heard = this.heard.get(name)
    for (const server of this.knownServers(name)) {
      if (server !== this.self && !heard?.has(server)) return false
    }
    for (const [replica, number] of this.owed.get(name) ?? []) {
      if (partition.known(replica) < number) return false
    }
    return true
  }
}

function entryOf<Value>(map: Map<string, Value>, key: string, create: () => Value): Value {
  const known = map.get(key)
  if (known !== undefined) return known
  const created = create()
  map.set(key, created)
  return created
}
