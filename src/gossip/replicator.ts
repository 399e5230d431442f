import type { Delta } from '../crdt/cell.js'
import { deltaFromTuple, deltaToTuple } from '../crdt/delta-codec.js'
import { DELTA_BYTES } from '../crdt/limits.js'
import type { Partition, ReplicaState } from '../crdt/partition.js'
import { type ReplicaId, serverOfReplica } from '../sync/identity.js'
import { encodeMessage } from '../wire/encode.js'
import type { WireTuple } from '../wire/wire-value.js'
import { Acknowledgements } from './acknowledgements.js'
import {
  type AcknowledgeMessage,
  acknowledgeToTuple,
  type ChecksumsMessage,
  checksumsToTuple,
  type DigestMessage,
  digestToTuple,
  type RepairRequest,
  repairRequestToTuple,
} from './messages.js'
import { MAX_REPAIRS_WAITING, Peer, type PeerLink } from './peer.js'
import { RecentDeltas } from './recent-deltas.js'

/** What replication asks of the node around it. */
export interface ReplicatorPorts {
  readonly serverId: string
  /** The partitions hosted here, by name. */
  readonly partitions: ReadonlyMap<string, Partition>
  /**
   * Journals a delta that is about to be merged. Returns the journal position at which it will be durable, or
   * undefined when the journal can take no more just now.
   */
  store(delta: Uint8Array): number | undefined
  /** A peer knows more of this server's own writes than it does itself: they were lost here. */
  ownWritesLost(replica: ReplicaId, number: number): void
  /** A peer has told where it is; its vector has been compared. */
  digestHeard(server: string, digest: DigestMessage): void
  /** A delta of another replica has been merged. */
  merged(): void
  /** A server's journal holds more of this server's own writes. */
  acknowledged(): void
  /** Equal vectors, unequal state: a defect somewhere. A full exchange has been started. */
  mismatch(server: string, partition: string, replica: ReplicaId): void
  /** Continues on a later turn of the event loop. */
  soon(task: () => void): void
  /** Uniform in [0, 1). */
  uniform(): number
}

/** Deltas built in one turn for one peer; the rest follows on later turns, so that nothing stalls. */
const DELTAS_PER_TURN = 2

/**
 * Replication between this server and its linked peers: pushes news at once, repairs by digests, acknowledges
 * what the journal holds, compares checksums. Message and tick in, messages out; no time, no IO.
 */
export class Replicator {
  readonly peers = new Map<string, Peer>()
  readonly acknowledgements = new Acknowledgements()
  private readonly recent = new RecentDeltas()
  /** Merged but not yet durable here, in order of journal position. */
  private readonly undurable: { position: number; partition: string; replica: ReplicaId; to: number }[] = []

  constructor(private readonly ports: ReplicatorPorts) {}

  linkUp(server: string, link: PeerLink): Peer {
    const peer = new Peer(server, link)
    this.peers.set(server, peer)
    this.sendDigest(peer, { afterGap: false, wantsReply: false })
    return peer
  }

  linkDown(server: string): void {
    this.peers.delete(server)
  }

  /** The peer's link has room again. */
  drained(peer: Peer): void {
    peer.blocked = false
    this.pump(peer)
  }

  /** Own writes have become durable and visible; `encoded` are the very deltas, ready to send. */
  ownAdvanced(partition: Partition, deltas: readonly { delta: Delta; bytes: Uint8Array }[]): void {
    for (const { delta, bytes } of deltas) this.recent.add(delta, bytes)
    this.advanced(partition, partition.ownReplica, undefined)
  }

  /** The journal is durable up to `position`: acknowledge what came from others. */
  durable(position: number): void {
    const news = new Map<string, AcknowledgeMessage['partitions'][number]>()
    let done = 0
    for (const { position: at, partition, replica, to } of this.undurable) {
      if (at > position) break
      done += 1
      if (!this.acknowledgements.raise(this.ports.serverId, partition, replica, to)) continue
      news.set(`${partition}\n${replica}`, { partition, rows: [{ replica, first: to, second: 0 }] })
    }
    if (done > 0) this.undurable.splice(0, done)
    for (const rows of news.values()) this.acknowledge(rows)
  }

  /** One round of anti-entropy with a random peer, and deferred resets. */
  exchangeDigests(): void {
    for (const peer of this.peers.values()) {
      peer.gapTold = false
      if (!peer.needsReset) continue
      peer.needsReset = false
      this.sendDigest(peer, { afterGap: true, wantsReply: false })
    }
    const peer = this.randomPeer()
    if (!peer) return
    this.sendDigest(peer, { afterGap: false, wantsReply: true })
    const partitions = this.acknowledgements.rows(this.ports.serverId, (replica) =>
      this.isRouteTo(peer, replica),
    )
    if (partitions.length > 0)
      this.send(peer, acknowledgeToTuple({ server: this.ports.serverId, partitions }))
  }

  /** Compares checksums with a random peer. */
  exchangeChecksums(): void {
    const peer = this.randomPeer()
    if (!peer?.ready) return
    const partitions = [...this.ports.partitions.values()].filter(({ name }) => peer.hosts(name))
    const message: ChecksumsMessage = {
      partitions: partitions.map((partition) => ({
        partition: partition.name,
        rows: partition
          .replicas()
          .filter(isSettled)
          .map(({ replica, known, checksum }) => ({ replica, first: known, second: checksum })),
      })),
    }
    this.send(peer, checksumsToTuple(message))
  }

  onDigest(peer: Peer, digest: DigestMessage): void {
    const inFlight = digest.received < peer.deltasSent && !digest.afterGap
    for (const { partition: name, rows } of digest.partitions) {
      const partition = this.ports.partitions.get(name)
      if (!partition) continue
      peer.host(name)
      const theirs = new Map(rows.map((row) => [row.replica, row]))
      const own = theirs.get(partition.ownReplica.replica)
      if (own && Math.max(own.first, own.second) > partition.ownReplica.known) {
        this.ports.ownWritesLost(own.replica, Math.max(own.first, own.second))
      }
      for (const row of rows) {
        if (inFlight) peer.raisePosition(name, row.replica, row.first)
        else peer.setPosition(name, row.replica, row.first)
      }
      for (const state of partition.replicas()) {
        if (!theirs.has(state.replica) && !inFlight) peer.setPosition(name, state.replica, 0)
        if (peer.position(name, state.replica) < state.known) peer.markBehind(name, state.replica)
      }
    }
    peer.ready = true
    if (digest.wantsReply) this.sendDigest(peer, { afterGap: false, wantsReply: false })
    this.ports.digestHeard(peer.server, digest)
    this.pump(peer)
  }

  /** `bytes` is the encoded message, journalled as it came. @throws FrameError */
  onDelta(peer: Peer, tuple: WireTuple, bytes: Uint8Array): void {
    const delta = deltaFromTuple(tuple)
    peer.deltasReceived += 1
    const partition = this.ports.partitions.get(delta.partition)
    if (!partition) return
    if (delta.replica === partition.ownReplica.replica) {
      if (delta.to > partition.ownReplica.known) this.ports.ownWritesLost(delta.replica, delta.horizon)
      return
    }
    const known = partition.known(delta.replica)
    if (delta.from > known) {
      if (peer.gapTold) return
      peer.gapTold = true
      this.sendDigest(peer, { afterGap: true, wantsReply: false })
      return
    }
    peer.gapTold = false
    peer.raisePosition(delta.partition, delta.replica, delta.to)
    if (delta.to <= known && !delta.repair) return
    const position = this.ports.store(bytes)
    if (position === undefined) {
      peer.needsReset = true
      return
    }
    partition.merge(delta)
    const state = partition.replica(delta.replica)!
    this.undurable.push({ position, partition: delta.partition, replica: delta.replica, to: state.known })
    if (delta.from === known) this.recent.add(delta, Uint8Array.prototype.slice.call(bytes))
    this.advanced(partition, state, peer)
    this.ports.merged()
  }

  onAcknowledge(peer: Peer, message: AcknowledgeMessage): void {
    if (message.server === this.ports.serverId) return
    let own = false
    for (const { partition, rows } of message.partitions) {
      for (const row of rows) {
        if (!this.acknowledgements.raise(message.server, partition, row.replica, row.first)) continue
        const origin = serverOfReplica(row.replica)
        if (origin === this.ports.serverId) own = true
        else if (origin !== peer.server) this.relay(origin, message.server, partition, row)
      }
    }
    if (own) this.ports.acknowledged()
  }

  onChecksums(peer: Peer, message: ChecksumsMessage): void {
    for (const { partition: name, rows } of message.partitions) {
      const partition = this.ports.partitions.get(name)
      if (!partition || !peer.hosts(name)) continue
      for (const row of rows) {
        const state = partition.replica(row.replica)
        if (!state || !isSettled(state) || state.known !== row.first || state.checksum === row.second)
          continue
        this.ports.mismatch(peer.server, name, row.replica)
        this.onRepairRequest(peer, { partition: name, replica: row.replica })
        this.send(peer, repairRequestToTuple({ partition: name, replica: row.replica }))
      }
    }
  }

  onRepairRequest(peer: Peer, request: RepairRequest): void {
    if (!this.ports.partitions.get(request.partition)?.replica(request.replica)) return
    const waiting = peer.repairs.some(
      ({ partition, replica }) => partition === request.partition && replica === request.replica,
    )
    if (waiting || peer.repairs.length >= MAX_REPAIRS_WAITING) return
    peer.repairs.push({ ...request, from: 0 })
    this.pump(peer)
  }

  private advanced(partition: Partition, state: ReplicaState, source: Peer | undefined): void {
    const origin = serverOfReplica(state.replica)
    for (const peer of this.peers.values()) {
      // A peer that the writer itself is linked with gets it from there; digests mend what goes missing.
      if (peer === source || !peer.ready || !peer.hosts(partition.name) || peer.server === origin) continue
      if (origin !== this.ports.serverId && peer.linked.has(origin)) continue
      if (peer.position(partition.name, state.replica) >= state.known) continue
      peer.markBehind(partition.name, state.replica)
      this.pump(peer)
    }
  }

  /** Sends a peer what it lacks until its link is full or the turn is used up. */
  private pump(peer: Peer): void {
    if (peer.blocked || this.peers.get(peer.server) !== peer) return
    for (let sent = 0; sent < DELTAS_PER_TURN; sent++) {
      const more = peer.behind.size > 0 ? this.sendNews(peer) : this.sendRepair(peer)
      if (!more) return
    }
    if (peer.behind.size === 0 && peer.repairs.length === 0) return
    peer.blocked = true
    this.ports.soon(() => this.drained(peer))
  }

  /** Returns false when the link took nothing. */
  private sendNews(peer: Peer): boolean {
    const [key, { partition: name, replica }] = peer.behind.entries().next().value!
    const partition = this.ports.partitions.get(name)!
    const from = peer.position(name, replica)
    const known = partition.known(replica)
    peer.behind.delete(key)
    const recent = this.recent.find(name, replica, from)
    const piece = recent ?? this.encodeSince(partition, replica, from, false)
    if (!piece) return true
    if (!peer.link.sendBulk(piece.bytes)) {
      peer.blocked = true
      peer.markBehind(name, replica)
      return false
    }
    peer.deltasSent += 1
    peer.setPosition(name, replica, piece.to)
    if (piece.to < known) peer.markBehind(name, replica)
    return true
  }

  private sendRepair(peer: Peer): boolean {
    const repair = peer.repairs[0]
    if (!repair) return false
    const partition = this.ports.partitions.get(repair.partition)!
    const piece = this.encodeSince(partition, repair.replica, repair.from, true)
    if (!piece) {
      peer.repairs.shift()
      return true
    }
    if (!peer.link.sendBulk(piece.bytes)) {
      peer.blocked = true
      return false
    }
    peer.deltasSent += 1
    repair.from = piece.to
    return true
  }

  private encodeSince(
    partition: Partition,
    replica: ReplicaId,
    from: number,
    repair: boolean,
  ): { to: number; bytes: Uint8Array } | undefined {
    const delta = partition.deltaSince(replica, from, DELTA_BYTES, repair)
    return delta && { to: delta.to, bytes: encodeMessage(deltaToTuple(delta)) }
  }

  private sendDigest(peer: Peer, flags: { afterGap: boolean; wantsReply: boolean }): void {
    const partitions = [...this.ports.partitions.values()].map((partition) => ({
      partition: partition.name,
      rows: partition
        .replicas()
        .map(({ replica, known, horizon }) => ({ replica, first: known, second: horizon })),
    }))
    this.send(peer, digestToTuple({ ...flags, received: peer.deltasReceived, partitions }))
  }

  /** Tells the writer, directly when linked, else whoever may be. */
  private acknowledge(rows: AcknowledgeMessage['partitions'][number]): void {
    const origin = serverOfReplica(rows.rows[0]!.replica)
    const bytes = encodeMessage(acknowledgeToTuple({ server: this.ports.serverId, partitions: [rows] }))
    const direct = this.peers.get(origin)
    for (const peer of direct ? [direct] : this.peers.values()) peer.link.sendControl(bytes)
  }

  private relay(
    origin: string,
    server: string,
    partition: string,
    row: AcknowledgeMessage['partitions'][number]['rows'][number],
  ): void {
    const peer = this.peers.get(origin)
    if (peer) this.send(peer, acknowledgeToTuple({ server, partitions: [{ partition, rows: [row] }] }))
  }

  /** Whether acknowledgements for that replica should go by way of this peer. */
  private isRouteTo(peer: Peer, replica: ReplicaId): boolean {
    const origin = serverOfReplica(replica)
    return origin === peer.server || (origin !== this.ports.serverId && !this.peers.has(origin))
  }

  private send(peer: Peer, tuple: WireTuple): void {
    peer.link.sendControl(encodeMessage(tuple))
  }

  private randomPeer(): Peer | undefined {
    const all = [...this.peers.values()]
    return all[Math.floor(this.ports.uniform() * all.length)]
  }
}

/** Invariant D3: only then does an equal vector mean equal state. */
export function isSettled(state: ReplicaState): boolean {
  return state.known >= state.horizon
}
