import type { Environment, Timer } from '../environment/environment.js'
import { LevelReads } from '../gossip/level-reads.js'
import { Membership, type StatusChange } from '../gossip/membership.js'
import {
  acknowledgeFromTuple,
  checksumsFromTuple,
  digestFromTuple,
  heartbeatFromTuple,
  heartbeatToTuple,
  repairRequestFromTuple,
} from '../gossip/messages.js'
import type { Peer } from '../gossip/peer.js'
import { positionsFromTuple, positionsRequestFromTuple } from '../gossip/position-messages.js'
import { Replicator, type ReplicatorPorts } from '../gossip/replicator.js'
import type { InboundMessage, Link, LinkHandler } from '../link/link.js'
import { encodeMessage } from '../wire/encode.js'
import { MessageType } from '../wire/message-type.js'
import type { WireTuple } from '../wire/wire-value.js'
import type { Incarnation } from './journal-records.js'

export interface GossipDriverOptions {
  readonly environment: Environment
  readonly ports: ReplicatorPorts
  readonly incarnation: Incarnation
  readonly syncIntervalMs: number
  readonly heartbeatIntervalMs: number
  readonly checksumIntervalMs: number
  readonly acceptablePauseMs: number
  /** A message of the Raft group. */
  readonly onRaftMessage: (tuple: WireTuple) => void
  /** A message about rights, from that server. */
  readonly onBorrowMessage: (server: string, type: number, tuple: WireTuple) => void
  /** A question about this server's books, or an answer to one. */
  readonly onAuditMessage: (server: string, type: number, tuple: WireTuple) => void
  readonly onStatusChange: (change: StatusChange) => void
  /** Now and then: time to drop what has expired. */
  readonly onHousekeeping: () => void
  /** For reads at a level: who hosts a partition, and whether this server has met its mesh. */
  readonly knownServers: (partition: string) => readonly string[]
  readonly isReady: () => boolean
}

/** phi at which a server is suspected, and at which it is declared dead (Hayashibara's 10^-phi). */
const SUSPECT_PHI = 3
const DEAD_PHI = 8

/** Gives the pure gossip cores their time, their links and their messages. */
export class GossipDriver {
  readonly replicator: Replicator
  readonly reads: LevelReads
  readonly membership: Membership
  private readonly timers = new Map<string, Timer>()
  private stopped = false

  constructor(private readonly options: GossipDriverOptions) {
    const { incarnation, heartbeatIntervalMs, acceptablePauseMs } = options
    const { ports, knownServers, isReady } = options
    this.replicator = new Replicator(ports)
    const { acknowledgements } = this.replicator
    this.reads = new LevelReads({ ...ports, acknowledgements, knownServers, isReady })
    this.membership = new Membership(
      incarnation.replica,
      incarnation.starts,
      { intervalMs: heartbeatIntervalMs, suspectPhi: SUSPECT_PHI, deadPhi: DEAD_PHI, acceptablePauseMs },
      options.onStatusChange,
    )
  }

  start(): void {
    const { syncIntervalMs, heartbeatIntervalMs, checksumIntervalMs } = this.options
    this.repeat('heartbeat', heartbeatIntervalMs, () => this.heartbeat())
    this.repeat('sync', syncIntervalMs, () => this.replicator.exchangeDigests())
    this.repeat('checksum', checksumIntervalMs, () => {
      this.options.onHousekeeping()
      this.replicator.exchangeChecksums()
    })
  }

  stop(): void {
    this.stopped = true
    for (const timer of this.timers.values()) timer.cancel()
    this.timers.clear()
  }

  /** Tells all linked servers that this one goes in good order. */
  announceLeave(): void {
    const leave = encodeMessage([MessageType.leave])
    for (const peer of this.replicator.peers.values()) peer.link.sendControl(leave)
  }

  linkUp(link: Link): LinkHandler {
    const { serverId } = link.remote
    const peer = this.replicator.linkUp(serverId, link)
    this.reads.linkUp(peer)
    this.sendLifeSigns()
    return {
      message: (message) => this.receive(peer, message),
      bulkDrained: () => this.replicator.drained(peer),
    }
  }

  linkDown(link: Link): void {
    const { serverId } = link.remote
    this.reads.linkDown(serverId, link)
    this.replicator.linkDown(serverId, link)
    this.membership.linkBroken(serverId)
    // The others now have to forward what used to come from there directly: tell them at once.
    if (!this.stopped) this.sendLifeSigns()
  }

  private heartbeat(): void {
    const nowMs = this.options.environment.clock.monotonicMs()
    this.membership.tick(nowMs, nowMs + this.options.heartbeatIntervalMs)
    this.sendLifeSigns()
  }

  private sendLifeSigns(): void {
    const { peers } = this.replicator
    if (peers.size === 0) return
    const message = { signs: this.membership.beat(), linked: [...peers.keys()] }
    const bytes = encodeMessage(heartbeatToTuple(message))
    for (const peer of peers.values()) peer.link.sendControl(bytes)
  }

  private receive(peer: Peer, message: InboundMessage): boolean {
    if (this.stopped) return true
    switch (message.type) {
      case MessageType.delta:
        this.replicator.onDelta(peer, message.decode(), message.bytes)
        return true
      case MessageType.digest:
        this.replicator.onDigest(peer, digestFromTuple(message.decode()))
        return true
      case MessageType.acknowledge:
        this.replicator.onAcknowledge(peer, acknowledgeFromTuple(message.decode()))
        return true
      case MessageType.heartbeat:
        this.onHeartbeat(peer, message)
        return true
      case MessageType.checksums:
        this.replicator.onChecksums(peer, checksumsFromTuple(message.decode()))
        return true
      case MessageType.repairRequest:
        this.replicator.onRepairRequest(peer, repairRequestFromTuple(message.decode()))
        return true
      case MessageType.leave:
        this.membership.left(peer.server, this.options.environment.clock.monotonicMs())
        return true
      case MessageType.borrow:
      case MessageType.borrowAnswer:
        this.options.onBorrowMessage(peer.server, message.type, message.decode())
        return true
      case MessageType.audit:
      case MessageType.auditAnswer:
        this.options.onAuditMessage(peer.server, message.type, message.decode())
        return true
      case MessageType.positionsRequest:
        this.reads.onRequest(peer, positionsRequestFromTuple(message.decode()))
        return true
      case MessageType.positions:
        this.reads.onPositions(peer, positionsFromTuple(message.decode()))
        return true
      case MessageType.raft:
        this.options.onRaftMessage(message.decode())
        return true
      default:
        return false
    }
  }

  private onHeartbeat(peer: Peer, message: InboundMessage): void {
    const { signs, linked } = heartbeatFromTuple(message.decode())
    const nowMs = this.options.environment.clock.monotonicMs()
    this.replicator.onLinked(peer, linked)
    for (const sign of signs) this.membership.hear(sign, nowMs)
  }

  private repeat(name: string, intervalMs: number, task: () => void): void {
    const run = () => {
      if (this.stopped) return
      this.timers.set(name, this.options.environment.scheduler.after(intervalMs, run))
      task()
    }
    // Spread over the interval, so that servers started together do not all speak at once.
    const firstMs = intervalMs * (0.5 + this.options.environment.random.uniform() / 2)
    this.timers.set(name, this.options.environment.scheduler.after(firstMs, run))
  }
}
