import type { Delta } from '../crdt/cell.js'
import { deltaFromTuple } from '../crdt/delta-codec.js'
import { encodeDelta } from '../crdt/delta-encoder.js'
import type { Partition, ReplicaState } from '../crdt/partition.js'
import { FrameError } from '../sync/errors.js'
import { isReplicaId, type ReplicaId, serverOfReplica } from '../sync/identity.js'
import { encodeMessage } from '../wire/encode.js'
import type { WireTuple } from '../wire/wire-value.js'
import { type Acknowledgements, topicKey } from './acknowledgements.js'
import { Acknowledger } from './acknowledger.js'
import { collectParts } from './digest-parts.js'
import {
  type AcknowledgeMessage,
  type ChecksumsMessage,
  checksumsToTuple,
  type DigestMessage,
  digestToTuple,
  type RepairRequest,
  repairRequestToTuple,
  rowsInParts,
} from './messages.js'
import { MAX_GAPS, MAX_REPAIRS_WAITING, Peer, type PeerLink } from './peer.js'
import type { ReplicatorPorts } from './ports.js'
import { RecentDeltas } from './recent-deltas.js'

export type { ReplicatorPorts } from './ports.js'

/** Deltas built in one turn for one peer; the rest follows on later turns, so that nothing stalls. */
const DELTAS_PER_TURN = 2

/**
 * Replication between this server and its linked peers: pushes news at once, repairs by digests, acknowledges
 * what the journal holds, compares checksums. Message and tick in, messages out; no time, no IO.
 */
export class Replicator {
  readonly peers = new Map<string, Peer>()
  private readonly recent = new RecentDeltas()
  private readonly acknowledger: Acknowledger

  /** The partitions' content must be durable: it is what a replay has found. */
  constructor(private readonly ports: ReplicatorPorts) {
    this.acknowledger = new Acknowledger(ports, this.peers)
  }

  /** What each server's journal holds, as far as this one has heard. */
  get acknowledgements(): Acknowledgements {
    return this.acknowledger.table
  }

  linkUp(server: string, link: PeerLink): Peer {
    const peer = new Peer(server, link)
    this.peers.set(server, peer)
    this.sendDigest(peer, { afterGap: false, wantsReply: false })
    this.acknowledger.introduce(peer)
    return peer
  }

  /** No effect when a newer link to that server has taken the place of this one. */
  linkDown(server: string, link: PeerLink): void {
    if (this.peers.get(server)?.link === link) this.peers.delete(server)
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
    this.acknowledger.durable(position)
  }

  /** A peer has told with whom it is linked. */
  onLinked(peer: Peer, servers: readonly string[]): void {
    const before = peer.linked
    peer.linked = new Set(servers)
    // What it used to get from the server it lost may have been under way: ask what it lacks.
    for (const server of before) {
      if (peer.linked.has(server) || server === this.ports.serverId) continue
      this.sendDigest(peer, { afterGap: false, wantsReply: true })
      return
    }
  }

  onAcknowledge(peer: Peer, message: AcknowledgeMessage): void {
    this.acknowledger.receive(peer, message)
  }

  /** One round of anti-entropy with a random peer, and deferred resets. */
  exchangeDigests(): void {
    for (const peer of this.peers.values()) {
      if (!peer.needsReset || !this.ports.canStore()) continue
      peer.needsReset = false
      this.sendDigest(peer, { afterGap: true, wantsReply: false })
    }
    const peer = this.randomPeer()
    if (!peer) return
    this.sendDigest(peer, { afterGap: false, wantsReply: true })
    this.acknowledger.remind(peer)
  }

  /** Compares checksums with a random peer. */
  exchangeChecksums(): void {
    const peer = this.randomPeer()
    if (!peer?.ready) return
    const partitions = [...this.ports.partitions.values()].filter(({ name }) => peer.hosts(name))
    const rows = partitions.map((partition) => ({
      partition: partition.name,
      rows: partition
        .replicas()
        .filter(isSettled)
        .map(({ replica, known, checksum }) => ({ replica, first: known, second: checksum })),
    }))
    for (const part of rowsInParts(rows)) this.send(peer, checksumsToTuple({ partitions: part }))
  }

  /** @throws FrameError */
  onDigest(peer: Peer, message: DigestMessage): void {
    const digest = collectParts(peer, message)
    if (!digest) return
    const inFlight = digest.received < peer.deltasSent && !digest.afterGap
    for (const { partition: name, rows } of digest.partitions) {
      const partition = this.ports.partitions.get(name)
      if (!partition) continue
      // With deltas on their way the digest tells less than what will have arrived: it can only raise.
      if (inFlight) peer.host(name)
      else peer.setVector(name, rows)
      const theirs = new Map(rows.map((row) => [row.replica, row]))
      const own = theirs.get(partition.ownReplica.replica)
      if (own && Math.max(own.first, own.second) > partition.ownReplica.known) {
        this.ports.ownWritesLost(own.replica, Math.max(own.first, own.second), name)
      }
      for (const state of partition.replicas()) {
        peer.raisePosition(name, state.replica, theirs.get(state.replica)?.first ?? 0)
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
    if (!isReplicaId(delta.replica)) throw new FrameError('delta.replica: not a replica id')
    peer.deltasReceived += 1
    const partition = this.ports.partitions.get(delta.partition)
    if (!partition) return
    if (delta.replica === partition.ownReplica.replica) {
      if (delta.horizon <= partition.ownReplica.known) return
      // Once this server writes as somebody else it wants that delta after all.
      peer.needsReset = true
      this.ports.ownWritesLost(delta.replica, delta.horizon, delta.partition)
      return
    }
    const known = partition.known(delta.replica)
    const topic = topicKey(delta.partition, delta.replica)
    if (delta.from > known) {
      this.foundGap(peer, topic)
      return
    }
    peer.raisePosition(delta.partition, delta.replica, delta.to)
    const position = delta.to <= known && !delta.repair ? 'known' : this.ports.store(bytes)
    if (position === undefined) {
      // What follows will not fit either; it is told when the journal takes more.
      if (peer.gaps.size < MAX_GAPS) peer.gaps.add(topic)
      peer.needsReset = true
      return
    }
    peer.gaps.delete(topic)
    if (position === 'known') return
    partition.merge(delta)
    const state = partition.replica(delta.replica)!
    this.acknowledger.stored({
      position,
      partition: delta.partition,
      replica: delta.replica,
      to: state.known,
    })
    // Without another peer there is nobody to send it on to.
    if (delta.from === known && this.peers.size > 1)
      this.recent.add(delta, Uint8Array.prototype.slice.call(bytes))
    this.advanced(partition, state, peer)
    this.ports.merged()
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

  /** Something is missing before this delta. It is told once: what was sent before the peer hears it fits no better. */
  private foundGap(peer: Peer, topic: string): void {
    if (peer.gaps.has(topic)) return
    if (peer.gaps.size >= MAX_GAPS) {
      peer.needsReset = true
      return
    }
    peer.gaps.add(topic)
    this.sendDigest(peer, { afterGap: true, wantsReply: false })
  }

  /** Sends a peer what it lacks until its link is full or the turn is used up. */
  private pump(peer: Peer): void {
    if (peer.blocked || peer.resuming || this.peers.get(peer.server) !== peer) return
    for (let sent = 0; sent < DELTAS_PER_TURN; sent++) {
      const more = peer.behind.size > 0 ? this.sendNews(peer) : this.sendRepair(peer)
      if (!more) return
    }
    if (peer.behind.size === 0 && peer.repairs.length === 0) return
    peer.resuming = true
    this.ports.soon(() => {
      peer.resuming = false
      this.pump(peer)
    })
  }

  /** Returns false when the link took nothing. */
  private sendNews(peer: Peer): boolean {
    const [key, { partition: name, replica }] = peer.behind.entries().next().value!
    const partition = this.ports.partitions.get(name)!
    const from = peer.position(name, replica)
    const known = partition.known(replica)
    peer.behind.delete(key)
    const recent = this.recent.find(name, replica, from, known)
    const piece = recent ?? this.encodeSince(peer, partition, replica, from, false)
    if (!piece) return true
    if (!peer.link.sendBulk(piece.bytes)) {
      peer.blocked = true
      peer.markBehind(name, replica)
      return false
    }
    peer.sent(piece.bytes.length)
    peer.setPosition(name, replica, piece.to)
    if (piece.to < known) peer.markBehind(name, replica)
    return true
  }

  private sendRepair(peer: Peer): boolean {
    const repair = peer.repairs[0]
    if (!repair) return false
    const partition = this.ports.partitions.get(repair.partition)!
    const piece = this.encodeSince(peer, partition, repair.replica, repair.from, true)
    if (!piece) {
      peer.repairs.shift()
      return true
    }
    if (!peer.link.sendBulk(piece.bytes)) {
      peer.blocked = true
      return false
    }
    peer.sent(piece.bytes.length)
    repair.from = piece.to
    return true
  }

  private encodeSince(
    peer: Peer,
    partition: Partition,
    replica: ReplicaId,
    from: number,
    repair: boolean,
  ): { to: number; bytes: Uint8Array } | undefined {
    const delta = partition.deltaSince(replica, from, peer.deltaBytes, repair)
    return delta && { to: delta.to, bytes: encodeDelta(delta) }
  }

  private sendDigest(peer: Peer, flags: { afterGap: boolean; wantsReply: boolean }): void {
    const partitions = [...this.ports.partitions.values()].map((partition) => ({
      partition: partition.name,
      rows: partition
        .replicas()
        .map(({ replica, known, horizon }) => ({ replica, first: known, second: horizon })),
    }))
    const parts = rowsInParts(partitions)
    for (const [position, part] of parts.entries()) {
      const more = position < parts.length - 1
      const received = peer.deltasReceived
      this.send(peer, digestToTuple({ ...flags, received, partitions: part, more }))
    }
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
