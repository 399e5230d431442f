import { type ReplicaId, serverOfReplica } from '../sync/identity.js'
import { encodeMessage } from '../wire/encode.js'
import { Acknowledgements } from './acknowledgements.js'
import { type AcknowledgeMessage, acknowledgeToTuple, type PartitionRows, rowsInParts } from './messages.js'
import type { Peer } from './peer.js'
import type { ReplicatorPorts } from './ports.js'

/** A delta that has been merged and is on its way to the journal. */
export interface Stored {
  readonly position: number
  readonly partition: string
  readonly replica: ReplicaId
  readonly to: number
}

/**
 * Tells writers what this server's journal holds of theirs (invariant J3: never before it does), and passes on
 * what others tell, for writers that they are not linked with.
 */
export class Acknowledger {
  readonly table = new Acknowledgements()
  /** Merged but not yet durable here, in order of journal position; bounded by what the journal takes. */
  private readonly undurable: Stored[] = []

  constructor(
    private readonly ports: ReplicatorPorts,
    private readonly peers: ReadonlyMap<string, Peer>,
  ) {
    for (const partition of ports.partitions.values()) {
      for (const { replica, known } of partition.replicas()) {
        if (known > 0) this.table.raise(ports.serverId, partition.name, replica, known)
      }
    }
  }

  stored(delta: Stored): void {
    this.undurable.push(delta)
  }

  /** A new link: its server may wait for what was lost with an earlier one, or what it forgot in a crash. */
  introduce(peer: Peer): void {
    for (const holder of this.table.servers()) {
      if (holder === peer.server) continue
      const rows = this.table.rows(holder, (replica) => serverOfReplica(replica) === peer.server)
      this.sendRows(peer, holder, rows)
    }
  }

  /** Now and then: all that this server holds of writers to whom that peer is the way. */
  remind(peer: Peer): void {
    const { serverId } = this.ports
    this.sendRows(
      peer,
      serverId,
      this.table.rows(serverId, (replica) => this.isRouteTo(peer, replica)),
    )
  }

  /** The journal is durable up to `position`: acknowledge what came from others. */
  durable(position: number): void {
    const news = new Map<string, AcknowledgeMessage['partitions'][number]>()
    let done = 0
    for (const { position: at, partition, replica, to } of this.undurable) {
      if (at > position) break
      done += 1
      if (!this.table.raise(this.ports.serverId, partition, replica, to)) continue
      news.set(`${partition}\n${replica}`, { partition, rows: [{ replica, first: to, second: 0 }] })
    }
    if (done > 0) this.undurable.splice(0, done)
    for (const rows of news.values()) this.acknowledge(rows)
  }

  receive(peer: Peer, message: AcknowledgeMessage): void {
    if (message.server === this.ports.serverId) return
    let own = false
    for (const { partition, rows } of message.partitions) {
      for (const row of rows) {
        const hosted = this.ports.partitions.get(partition)
        // Of a replica that is unknown here there will be more news; this bounds what is kept by what there is.
        if (!hosted?.replica(row.replica)) continue
        if (row.replica === hosted.ownReplica.replica && row.first > hosted.ownReplica.known) {
          this.ports.ownWritesLost(row.replica, row.first, partition)
          continue
        }
        if (!this.table.raise(message.server, partition, row.replica, row.first)) continue
        const origin = serverOfReplica(row.replica)
        if (origin === this.ports.serverId) own = true
        else this.relay(peer, origin, message.server, { partition, rows: [row] })
      }
    }
    if (own) this.ports.acknowledged()
  }

  private sendRows(peer: Peer, server: string, rows: readonly PartitionRows[]): void {
    if (rows.length === 0) return
    for (const part of rowsInParts(rows))
      peer.link.sendControl(encodeMessage(acknowledgeToTuple({ server, partitions: part })))
  }

  /** Tells the writer, directly when linked, else whoever may be. */
  private acknowledge(rows: AcknowledgeMessage['partitions'][number]): void {
    const origin = serverOfReplica(rows.rows[0]!.replica)
    // Own writes of an earlier incarnation: nobody waits for them.
    if (origin === this.ports.serverId) return
    this.passOn(undefined, origin, { server: this.ports.serverId, partitions: [rows] })
  }

  /** Passes on what was news here: that ends, since the same is news only once. */
  private relay(source: Peer, origin: string, server: string, rows: PartitionRows): void {
    if (origin !== source.server && origin !== server) {
      this.passOn(source, origin, { server, partitions: [rows] })
    }
  }

  private passOn(source: Peer | undefined, origin: string, message: AcknowledgeMessage): void {
    const bytes = encodeMessage(acknowledgeToTuple(message))
    const direct = this.peers.get(origin)
    for (const peer of direct ? [direct] : this.peers.values()) {
      if (peer !== source && peer.server !== message.server) peer.link.sendControl(bytes)
    }
  }

  /** Whether acknowledgements for that replica should go by way of this peer. */
  private isRouteTo(peer: Peer, replica: ReplicaId): boolean {
    const origin = serverOfReplica(replica)
    return origin === peer.server || (origin !== this.ports.serverId && !this.peers.has(origin))
  }
}
