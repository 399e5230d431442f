import type { ReplicaId } from '../sync/identity.js'
import { MAX_SERVERS, type PartitionRows } from './messages.js'

/**
 * What each server's journal holds, of each replica: the numbers that QUORUM counts. Also keeps what this
 * server has durable and has not told yet.
 */
export class Acknowledgements {
  private readonly byServer = new Map<string, Map<string, number>>()

  servers(): IterableIterator<string> {
    return this.byServer.keys()
  }

  /** Returns whether it was news. Servers beyond `MAX_SERVERS` are not counted. */
  raise(server: string, partition: string, replica: ReplicaId, number: number): boolean {
    let held = this.byServer.get(server)
    if (!held) {
      if (this.byServer.size >= MAX_SERVERS) return false
      held = new Map()
      this.byServer.set(server, held)
    }
    const topic = topicKey(partition, replica)
    if (number <= (held.get(topic) ?? 0)) return false
    held.set(topic, number)
    return true
  }

  get(server: string, partition: string, replica: ReplicaId): number {
    return this.byServer.get(server)?.get(topicKey(partition, replica)) ?? 0
  }

  /** How many of `servers` hold the replica's writes up to `number`. */
  count(servers: Iterable<string>, partition: string, replica: ReplicaId, number: number): number {
    let count = 0
    for (const server of servers) if (this.get(server, partition, replica) >= number) count += 1
    return count
  }

  /** All rows of one server whose replica passes the filter, for a message. */
  rows(server: string, include: (replica: ReplicaId) => boolean): PartitionRows[] {
    const partitions = new Map<string, { replica: ReplicaId; first: number; second: number }[]>()
    for (const [topic, number] of this.byServer.get(server) ?? []) {
      const [partition, replica] = splitTopic(topic)
      if (!include(replica)) continue
      const rows = partitions.get(partition) ?? []
      rows.push({ replica, first: number, second: 0 })
      partitions.set(partition, rows)
    }
    return [...partitions].map(([partition, rows]) => ({ partition, rows }))
  }
}

/** Partition and server names have no control characters, so a newline separates them safely. */
export function topicKey(partition: string, replica: ReplicaId): string {
  return `${partition}\n${replica}`
}

function splitTopic(topic: string): [string, ReplicaId] {
  const end = topic.indexOf('\n')
  return [topic.slice(0, end), topic.slice(end + 1)]
}
