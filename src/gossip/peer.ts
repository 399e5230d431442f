import { DELTA_BYTES } from '../crdt/limits.js'
import type { ReplicaId } from '../sync/identity.js'
import type { PartitionRows, ReplicaRow } from './messages.js'

/** The part of a link that gossip needs. */
export interface PeerLink {
  sendControl(message: Uint8Array): void
  /** False: not queued, wait until drained. */
  sendBulk(message: Uint8Array): boolean
}

/** A replica of a partition about which a peer may lack something. */
export interface Topic {
  readonly partition: string
  readonly replica: ReplicaId
}

/**
 * Size at which the first delta for a peer is cut. It grows by a part of what was sent, up to DELTA_BYTES: a server
 * that has just started runs code that is not compiled yet, ten times as slow, and stood still for more than 20 ms
 * over a whole delta.
 */
export const FIRST_DELTA_BYTES = 2 * 1024
const DELTA_GROWTH = 0.25

/** A full transfer of one replica's cells under way to a peer. */
export interface Repair extends Topic {
  from: number
}

/**
 * What is known of a linked server. There is no queue of operations per peer: only how far it is, per replica.
 * Whatever it lacks is read off the state when its link has room, so a slow peer costs no memory.
 */
export class Peer {
  /** Its first digest has come: before that nothing is sent, since nothing is known. */
  ready = false
  /** The link is full; `drained` clears it. */
  blocked = false
  /** This turn's share is used up; it goes on on a later one. */
  resuming = false
  /** A delta from it could not be taken; the next tick at which the journal takes more tells it where we are. */
  needsReset = false
  /**
   * Topics in which a delta was missing, and of which it has been told or will be at the reset: further deltas
   * that do not fit were under way before it heard.
   */
  readonly gaps = new Set<string>()
  /** Parts of a digest whose last part has not come yet. */
  digestParts: PartitionRows[] = []
  deltasSent = 0
  deltasReceived = 0
  /** Size at which the next delta built for it is cut. */
  deltaBytes = FIRST_DELTA_BYTES
  /** Servers that it says it is linked with. */
  linked: ReadonlySet<string> = new Set()
  /** Partition → replica → number up to which it has, or was sent, everything. */
  private readonly vectors = new Map<string, Map<ReplicaId, number>>()
  /** Topics it may lack something of; a queue in insertion order. */
  readonly behind = new Map<string, Topic>()
  readonly repairs: Repair[] = []

  constructor(
    readonly server: string,
    readonly link: PeerLink,
  ) {}

  /** A delta is on its way to it. */
  sent(bytes: number): void {
    this.deltasSent += 1
    this.deltaBytes = Math.min(DELTA_BYTES, this.deltaBytes + DELTA_GROWTH * bytes)
  }

  hosts(partition: string): boolean {
    return this.vectors.has(partition)
  }

  /** It is exactly there in this partition, whatever was believed before. */
  setVector(partition: string, rows: readonly ReplicaRow[]): void {
    this.vectors.set(partition, new Map(rows.map(({ replica, first }) => [replica, first])))
  }

  host(partition: string): void {
    if (!this.vectors.has(partition)) this.vectors.set(partition, new Map())
  }

  position(partition: string, replica: ReplicaId): number {
    return this.vectors.get(partition)?.get(replica) ?? 0
  }

  setPosition(partition: string, replica: ReplicaId, number: number): void {
    this.vectors.get(partition)?.set(replica, number)
  }

  raisePosition(partition: string, replica: ReplicaId, number: number): void {
    if (number > this.position(partition, replica)) this.setPosition(partition, replica, number)
  }

  markBehind(partition: string, replica: ReplicaId): void {
    this.behind.set(`${partition}\n${replica}`, { partition, replica })
  }
}

/** Topics with a gap that are remembered for one peer; in further ones it is told at the next tick. */
export const MAX_GAPS = 4096
/** Full transfers that may wait for one peer; more are asked for again at the next checksum comparison. */
export const MAX_REPAIRS_WAITING = 64
