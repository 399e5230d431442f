import type { Membership } from '../gossip/membership.js'
import type { Replicator } from '../gossip/replicator.js'
import type { ServerView } from '../strong/membership-manager.js'
import type { RaftLinks } from '../strong/raft-transport.js'
import { ConflictError, NotFoundError } from '../sync/errors.js'
import { incarnationOfReplica, type ReplicaId, serverOfReplica } from '../sync/identity.js'
import { FormerWrites } from './former-writes.js'
import type { MemberDirectory } from './members.js'
import { SHARED_PARTITION, worldOfPartition } from './partitions.js'

/** The mesh as this server sees it: what servers say of themselves, and whether they are heard. */
export class MeshView {
  /** How far this server knows what it wrote as an earlier incarnation. */
  readonly formerWrites: FormerWrites

  constructor(
    private readonly self: string,
    private readonly directory: MemberDirectory,
    private readonly membership: Membership,
    /** The key that was given up under a name, see `releaseName`. */
    private readonly releasedKey: (server: string) => Uint8Array | undefined,
  ) {
    this.formerWrites = new FormerWrites(self, (partition) => this.knownServers(partition))
  }

  /** The servers that belong to the mesh, this one included; with a partition, those that host it. */
  knownServers(partition: string = SHARED_PARTITION): string[] {
    const world = worldOfPartition(partition)
    const servers = [this.self]
    for (const [server, card] of this.directory.all()) {
      if (server === this.self || card.departed) continue
      if (world === undefined || card.worlds.includes(world)) servers.push(server)
    }
    return servers
  }

  otherServers(): string[] {
    return this.knownServers().filter((server) => server !== this.self)
  }

  /**
   * Who belongs to the mesh besides this server: the known ones by name, and by their address those that were
   * configured and that no known server has.
   */
  others(configured: readonly string[]): string[] {
    const advertised = new Set([...this.directory.all().values()].map(({ address }) => address))
    const strangers = configured.filter((address) => !advertised.has(address))
    return [...this.otherServers(), ...strangers]
  }

  liveServers(): string[] {
    return this.knownServers().filter((server) => this.isAlive(server))
  }

  serverViews(): ServerView[] {
    return [...this.directory.all()].map(([serverId, { replica, departed, memoryOnly }]) => {
      return { serverId, replica, departed, memoryOnly, alive: this.isAlive(serverId) }
    })
  }

  /** The key that owns a name, unless the name is free: nobody had it, or a memory-only server that is gone. */
  nameOwner(serverId: string): Uint8Array | undefined {
    const card = this.directory.get(serverId)
    if (!card || (card.memoryOnly && !this.isAliveAs(serverId, card.replica))) return undefined
    const released = this.releasedKey(serverId)
    const isReleased = released !== undefined && Buffer.from(released).equals(card.publicKey)
    return isReleased ? undefined : card.publicKey
  }

  /** The key to give up so that another one may take the name. @throws NotFoundError, ConflictError */
  keyToRelease(serverId: string): Uint8Array {
    const card = this.directory.get(serverId)
    if (!card) throw new NotFoundError(`no server named ${serverId} is known`)
    if (this.isAlive(serverId)) throw new ConflictError(`${serverId} is alive: its name cannot be given up`)
    return card.publicKey
  }

  /** Addresses to stay linked to: the configured ones and those that members tell. */
  addresses(configured: readonly string[]): string[] {
    const addresses = new Set(configured)
    for (const [server, { address, departed }] of this.directory.all()) {
      if (server !== this.self && address !== '' && !departed) addresses.add(address)
    }
    return [...addresses]
  }

  /** The replicas that the given servers write as. */
  replicasOf(servers: Iterable<string>): Set<ReplicaId> {
    const replicas = new Set<ReplicaId>()
    for (const server of servers) {
      const card = this.directory.get(server)
      if (card) replicas.add(card.replica)
    }
    return replicas
  }

  /** Its server is known to write as a later incarnation. */
  isSuperseded(replica: ReplicaId): boolean {
    const card = this.directory.get(serverOfReplica(replica))
    return card !== undefined && incarnationOfReplica(card.replica) > incarnationOfReplica(replica)
  }

  private isAlive(server: string): boolean {
    return this.membership.status(server) === 'alive'
  }

  /** Life signs of another replica are of a later process, whose own card may be long in coming. */
  private isAliveAs(server: string, replica: ReplicaId): boolean {
    return this.isAlive(server) && this.membership.replicaOf(server) === replica
  }
}

/** The gossip links as the Raft group uses them. */
export function raftLinks(replicator: () => Replicator, isQuiet: (server: string) => boolean): RaftLinks {
  return {
    isQuiet,
    sendTo: (server, message) => {
      const peer = replicator().peers.get(server)
      peer?.link.sendControl(message)
      return peer !== undefined
    },
    relayTo: (server) => {
      for (const peer of replicator().peers.values()) if (peer.linked.has(server)) return peer.server
      return undefined
    },
  }
}

/** Key of the shared state under which a name is given up. */
export function releasedNameKey(serverId: string): string {
  return `silo-mesh/released-name/${serverId}`
}
