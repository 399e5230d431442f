import type { Partition } from '../crdt/partition.js'
import { FrameError } from '../sync/errors.js'
import { type ReplicaId, serverOfReplica } from '../sync/identity.js'
import { encodeMessage } from '../wire/encode.js'
import type { Acknowledgements } from './acknowledgements.js'
import { MAX_DIGEST_ROWS, type PartitionRows, rowsInParts } from './messages.js'
import type { Peer, PeerLink } from './peer.js'
import {
  type PositionsMessage,
  type PositionsRequest,
  positionsRequestToTuple,
  positionsToTuple,
} from './position-messages.js'
import { isSettled } from './replicator.js'

/** How fresh a read is to be, beyond what is here. */
export type FreshLevel = 'QUORUM' | 'STRONG'

export interface LevelRead {
  readonly partition: Partition
  readonly level: FreshLevel
  /** The state is fresh enough at this very moment: read it now. */
  ready(): void
}

export interface LevelReadPorts {
  readonly serverId: string
  readonly partitions: ReadonlyMap<string, Partition>
  readonly acknowledgements: Acknowledgements
  /** All servers that host the partition, this one included, whether alive or not. */
  knownServers(partition: string): readonly string[]
  /** Whether this server has met its mesh: before, it cannot know how many servers a majority takes. */
  isReady(): boolean
  /** Continues on a later turn of the event loop. */
  soon(task: () => void): void
}

/** How far a read has got: servers that have answered, this one included. */
export interface ReadStanding {
  readonly answered: number
  readonly needed: number
}

/** Rounds of one partition and level that wait for answers or for the state; later reads gather in one behind them. */
export const MAX_ROUNDS = 16

/** Reads that are answered together: all began before the requests of their round went out. */
interface Round {
  /** 0 until it is asked for. */
  number: number
  readonly partition: Partition
  readonly level: FreshLevel
  readonly reads: Set<LevelRead>
  /** Other servers that have answered. */
  readonly answered: Set<string>
  /** What they hold together, per replica. */
  readonly points: Map<ReplicaId, number>
  /** Where this server was found behind last. */
  behind: ReplicaId | undefined
}

/** What is under way with one linked server: one request at a time. */
interface Asking {
  readonly peer: Peer
  /** Rounds that it has not answered, in the order of their numbers. */
  readonly rounds: Set<Round>
  requested: number | undefined
  parts: PartitionRows[]
}

/**
 * Reads that see more than what happens to be here. A QUORUM read asks the linked servers what their journals hold,
 * takes the greatest of a majority of the known servers, and is ready when the own state has reached that: a write
 * that was durable on a majority before the read began is on at least one server that has answered since (invariant L1).
 * STRONG asks all of them. Calls and messages in, messages out; no time, so whoever waits sets its own limit.
 *
 * Each linked server has one request under way, however many reads wait: those that begin meanwhile go with the next.
 */
export class LevelReads {
  private readonly asking = new Map<string, Asking>()
  private readonly rounds = new Set<Round>()
  /** Rounds that nobody has been asked for yet: the reads that begin now join them. */
  private readonly open = new Map<string, Round>()
  private readonly flying = new Map<string, number>()
  private readonly roundOf = new Map<LevelRead, Round>()
  private lastNumber = 0
  private sendingSoon = false

  constructor(private readonly ports: LevelReadPorts) {}

  begin(read: LevelRead): void {
    const { level, partition } = read
    const key = keyOf(read)
    let round = this.open.get(key)
    if (!round) {
      round = {
        number: 0,
        partition,
        level,
        reads: new Set(),
        answered: new Set(),
        points: new Map(),
        behind: undefined,
      }
      this.open.set(key, round)
      this.rounds.add(round)
    }
    round.reads.add(read)
    this.roundOf.set(read, round)
    this.sendSoon()
    // A server that is alone has nobody to ask.
    this.checkRound(round)
  }

  /** Nobody waits for it any more. */
  cancel(read: LevelRead): void {
    const round = this.roundOf.get(read)
    if (!round) return
    this.roundOf.delete(read)
    round.reads.delete(read)
    if (round.reads.size === 0) this.end(round)
  }

  standing(read: LevelRead): ReadStanding {
    const round = this.roundOf.get(read)
    return { answered: round ? this.answers(round) : 1, needed: this.needed(read) }
  }

  linkUp(peer: Peer): void {
    const asked = [...this.rounds].filter(({ number }) => number > 0)
    const rounds = new Set(asked.sort((left, right) => left.number - right.number))
    this.asking.set(peer.server, { peer, rounds, requested: undefined, parts: [] })
    this.sendSoon()
  }

  /** No effect when a newer link to that server has taken the place of this one. */
  linkDown(server: string, link: PeerLink): void {
    if (this.asking.get(server)?.peer.link === link) this.asking.delete(server)
  }

  onRequest(peer: Peer, { number, partitions: names }: PositionsRequest): void {
    const hosted = [...new Set(names)].flatMap((name) => this.ports.partitions.get(name) ?? [])
    const parts = rowsInParts(hosted.map((partition) => this.durable(partition)))
    for (const [position, partitions] of parts.entries()) {
      const more = position < parts.length - 1
      peer.link.sendControl(encodeMessage(positionsToTuple({ number, partitions, more })))
    }
  }

  /** @throws FrameError */
  onPositions(peer: Peer, { number, partitions, more }: PositionsMessage): void {
    const asking = this.asking.get(peer.server)
    if (asking?.peer !== peer || asking.requested !== number) return
    asking.parts.push(...partitions)
    const rows = asking.parts.reduce((sum, part) => sum + part.rows.length + 1, 0)
    if (rows > MAX_DIGEST_ROWS) throw new FrameError(`positions of more than ${MAX_DIGEST_ROWS} rows`)
    if (more) return
    const parts = asking.parts.splice(0)
    asking.requested = undefined
    for (const round of asking.rounds) {
      if (round.number > number) break
      asking.rounds.delete(round)
      takeAnswer(round, peer.server, parts)
      this.checkRound(round)
    }
    this.sendSoon()
  }

  /** The state, the membership or the readiness has changed. */
  check(): void {
    for (const round of this.rounds) this.checkRound(round)
  }

  private sendSoon(): void {
    if (this.sendingSoon || this.rounds.size === 0) return
    this.sendingSoon = true
    this.ports.soon(() => {
      this.sendingSoon = false
      this.closeOpen()
      for (const asking of this.asking.values()) this.send(asking)
    })
  }

  /** Open rounds are asked for as soon as a server can be asked. */
  private closeOpen(): void {
    const all = [...this.asking.values()]
    if (all.every(({ requested }) => requested !== undefined)) return
    for (const [key, round] of this.open) {
      const flying = this.flying.get(key) ?? 0
      if (flying >= MAX_ROUNDS) continue
      this.flying.set(key, flying + 1)
      this.open.delete(key)
      round.number = ++this.lastNumber
      for (const { rounds } of all) rounds.add(round)
    }
  }

  private send(asking: Asking): void {
    if (asking.requested !== undefined || asking.rounds.size === 0) return
    const partitions = [...new Set([...asking.rounds].map(({ partition }) => partition.name))]
    const number = this.lastNumber
    asking.requested = number
    asking.peer.link.sendControl(encodeMessage(positionsRequestToTuple({ number, partitions })))
  }

  private checkRound(round: Round): void {
    if (!this.ports.isReady() || this.answers(round) < this.needed(round) || !hasReached(round)) return
    const reads = [...round.reads]
    this.end(round)
    for (const read of reads) this.roundOf.delete(read)
    for (const read of reads) read.ready()
  }

  private end(round: Round): void {
    const key = keyOf(round)
    this.rounds.delete(round)
    if (this.open.get(key) === round) this.open.delete(key)
    else this.landed(key)
    for (const { rounds } of this.asking.values()) rounds.delete(round)
    this.sendSoon()
  }

  private landed(key: string): void {
    const flying = this.flying.get(key)! - 1
    if (flying > 0) this.flying.set(key, flying)
    else this.flying.delete(key)
  }

  private answers({ answered, partition }: Round): number {
    const known = this.ports.knownServers(partition.name)
    return 1 + known.filter((server) => answered.has(server)).length
  }

  private needed({ level, partition }: Pick<Round, 'level' | 'partition'>): number {
    const known = this.ports.knownServers(partition.name).length
    const servers = this.ports.isReady() ? known : Math.max(2, known)
    return level === 'STRONG' ? servers : Math.floor(servers / 2) + 1
  }

  /** What this server's journal holds of a partition; of its own writes, only what is durable has a number. */
  private durable(partition: Partition): PartitionRows {
    const { acknowledgements, serverId } = this.ports
    const rows = partition.replicas().map(({ replica, known }) => {
      const isOwn = serverOfReplica(replica) === serverId
      const first = isOwn ? known : acknowledgements.get(serverId, partition.name, replica)
      return { replica, first, second: 0 }
    })
    return { partition: partition.name, rows: rows.filter(({ first }) => first > 0) }
  }
}

function keyOf({ level, partition }: { level: FreshLevel; partition: Partition }): string {
  return `${level}\n${partition.name}`
}

function takeAnswer(round: Round, server: string, parts: readonly PartitionRows[]): void {
  for (const { partition, rows } of parts) {
    if (partition !== round.partition.name) continue
    round.answered.add(server)
    for (const { replica, first } of rows) {
      if (first > (round.points.get(replica) ?? 0)) round.points.set(replica, first)
    }
  }
}

/**
 * Whether the own state shows all of it. To have reached the number is not enough: what was overwritten since may be
 * missing until the horizon has been reached, too (invariant D3).
 */
function hasReached(round: Round): boolean {
  const { partition, points } = round
  const isThere = (replica: ReplicaId) => {
    const state = partition.replica(replica)
    return state !== undefined && state.known >= points.get(replica)! && isSettled(state)
  }
  if (round.behind !== undefined && !isThere(round.behind)) return false
  for (const replica of points.keys()) {
    if (isThere(replica)) continue
    round.behind = replica
    return false
  }
  return true
}
