import assert from 'node:assert/strict'
import { CellKind, type Delta } from '../../src/crdt/cell.js'
import { deltaFromTuple, deltaToTuple } from '../../src/crdt/delta-codec.js'
import { Partition, type PreparedFlush } from '../../src/crdt/partition.js'
import { LevelReads } from '../../src/gossip/level-reads.js'
import {
  acknowledgeFromTuple,
  checksumsFromTuple,
  type DigestMessage,
  digestFromTuple,
  heartbeatFromTuple,
  heartbeatToTuple,
  type PartitionRows,
  repairRequestFromTuple,
} from '../../src/gossip/messages.js'
import { MAX_GAPS, MAX_REPAIRS_WAITING, type Peer, type PeerLink } from '../../src/gossip/peer.js'
import { positionsFromTuple, positionsRequestFromTuple } from '../../src/gossip/position-messages.js'
import { MAX_RECENT_BYTES, type RecentDeltas } from '../../src/gossip/recent-deltas.js'
import { Replicator } from '../../src/gossip/replicator.js'
import { encodeMessage } from '../../src/wire/encode.js'
import { MessageType } from '../../src/wire/message-type.js'
import { decodeTuple } from '../../src/wire/safe-cbor.js'

/** One direction of a link: two queues in order, control may overtake bulk, bulk is bounded. */
class Direction implements PeerLink {
  readonly control: Uint8Array[] = []
  readonly bulk: Uint8Array[] = []
  refused = false
  open = true

  constructor(
    readonly from: Server,
    readonly to: Server,
    /** Messages of bulk that fit. */
    public capacity: number,
  ) {}

  sendControl(message: Uint8Array): void {
    if (this.open) this.control.push(message)
  }

  sendBulk(message: Uint8Array): boolean {
    if (!this.open) return false
    if (this.bulk.length >= this.capacity) {
      this.refused = true
      return false
    }
    this.bulk.push(message)
    return true
  }
}

/** A whole server around the replication core: a journal that one syncs by hand, and notes of what was reported. */
export class Server {
  readonly partitions = new Map<string, Partition>()
  replicator!: Replicator
  reads!: LevelReads
  /** Names of the servers that belong to the mesh; set by the network. */
  mesh: readonly string[] = []
  /** Everything appended, in order; what lies beyond `durable` is lost in a crash. */
  records: Uint8Array[] = []
  durable = 0
  /** The journal takes no more. */
  full = false
  lost: { replica: string; number: number }[] = []
  mismatches: string[] = []
  readonly turns: (() => void)[] = []
  private flights: { position: number; partition: Partition; flush: PreparedFlush; bytes: Uint8Array[] }[] =
    []
  private draws = 0

  constructor(
    readonly name: string,
    readonly hosted: readonly string[],
    public incarnation = 1,
    /** Tests break it on purpose. */
    private readonly levelReads: typeof LevelReads = LevelReads,
  ) {
    this.begin()
  }

  get replica(): string {
    return `${this.name}@${this.incarnation}`
  }

  partition(name = ''): Partition {
    return this.partitions.get(name)!
  }

  /** Starts from what the journal holds. */
  begin(): void {
    this.partitions.clear()
    for (const name of this.hosted) this.partitions.set(name, new Partition(name))
    this.records.length = this.durable
    for (const record of this.records) {
      const delta = deltaFromTuple(decodeTuple(record))
      assert.equal(this.partition(delta.partition).merge(delta) === 'gap', false, 'the journal has a gap')
    }
    for (const partition of this.partitions.values()) partition.writeAs(this.replica)
    this.flights = []
    this.turns.length = 0
    this.replicator = new Replicator({
      serverId: this.name,
      partitions: this.partitions,
      store: (delta) => (this.full ? undefined : this.records.push(Uint8Array.from(delta))),
      canStore: () => !this.full,
      ownWritesLost: (replica, number) => this.lost.push({ replica, number }),
      digestHeard: () => undefined,
      merged: () => this.reads.check(),
      acknowledged: () => undefined,
      mismatch: (server, partition, replica) => this.mismatches.push(`${server} "${partition}" ${replica}`),
      soon: (task) => this.turns.push(task),
      // Goes round, so that every peer has its turn.
      uniform: () => ((this.draws++ * 7) % 12) / 12,
    })
    this.reads = new this.levelReads({
      serverId: this.name,
      partitions: this.partitions,
      acknowledgements: this.replicator.acknowledgements,
      knownServers: () => this.mesh,
      isReady: () => true,
      soon: (task) => this.turns.push(task),
    })
  }

  deposit(item: string, amount = 1, partition = ''): void {
    const { table, own } = this.partition(partition)
    own.deposit(table.entry(table.namespace(CellKind.counter, 'vault'), item), amount)
  }

  /** Own writes go to the journal; nothing leaves before `sync`. */
  flush(maxBytes = 1000): void {
    for (const partition of this.partitions.values()) {
      if (this.flights.some((flight) => flight.partition === partition)) continue
      const flush = partition.prepareFlush(maxBytes)
      if (!flush) continue
      const bytes = flush.deltas.map((delta) => encodeMessage(deltaToTuple(delta)))
      this.records.push(...bytes)
      this.flights.push({ position: this.records.length, partition, flush, bytes })
    }
  }

  sync(): void {
    this.durable = this.records.length
    for (const { partition, flush, bytes } of this.flights.splice(0)) {
      partition.completeFlush(flush)
      const deltas = flush.deltas.map((delta, position) => ({ delta, bytes: bytes[position]! }))
      this.replicator.ownAdvanced(partition, deltas)
    }
    this.replicator.durable(this.durable)
  }

  /** Deposits, journals and sends in one go. */
  write(item: string, amount = 1, partition = ''): void {
    this.deposit(item, amount, partition)
    this.flush()
    this.sync()
  }

  turn(): void {
    for (const task of this.turns.splice(0)) task()
  }

  quantity(item: string, partition = ''): bigint {
    const { table } = this.partition(partition)
    const entry = table.findNamespace(CellKind.counter, 'vault')?.entries.get(item)
    return entry === undefined ? 0n : BigInt(table.total(entry))
  }

  /** Vector and checksum of every replica, as text. */
  state(partition = ''): string {
    return this.partition(partition)
      .replicas()
      .filter(({ known }) => known > 0)
      .map(({ replica, known, checksum }) => `${replica} ${known} ${checksum}`)
      .sort()
      .join(', ')
  }

  peer(of: Server): Peer {
    return this.replicator.peers.get(of.name)!
  }

  /** Every field that could be a queue is bounded by what there is to know. */
  checkBounds(): void {
    const topics = [...this.partitions.values()].reduce((sum, each) => sum + each.replicas().length, 0)
    const { recent } = this.replicator as unknown as { recent: RecentDeltas }
    assert.ok(recent.keptBytes <= MAX_RECENT_BYTES)
    for (const peer of this.replicator.peers.values()) {
      assert.ok(peer.behind.size <= topics, `${peer.behind.size} topics behind of ${topics}`)
      assert.ok(peer.repairs.length <= MAX_REPAIRS_WAITING)
      assert.ok(peer.gaps.size <= MAX_GAPS)
      assert.equal(peer.digestParts.length, 0)
      const sized = Object.entries(peer).filter(([, value]) => collectionSize(value) !== undefined)
      const known = ['behind', 'repairs', 'gaps', 'digestParts', 'linked', 'vectors']
      assert.deepEqual(sized.map(([name]) => name).sort(), known.sort(), 'a new collection needs its bound')
    }
  }
}

function collectionSize(value: unknown): number | undefined {
  if (Array.isArray(value)) return value.length
  return value instanceof Map || value instanceof Set ? value.size : undefined
}

export class Network {
  readonly servers: Server[]
  private readonly directions = new Map<string, Direction>()
  /** What was delivered, a line each; cleared by `told`. */
  private trace: string[] = []
  /** Deltas delivered since the start. */
  deltas = 0
  /** Of these, the ones that told nothing new. */
  redundant = 0
  capacity = 1000

  constructor(...servers: Server[]) {
    this.servers = servers
    for (const server of servers) server.mesh = servers.map(({ name }) => name)
  }

  static of(names: string, hosted: readonly string[] = ['']): Network {
    return new Network(...[...names].map((name) => new Server(name, hosted)))
  }

  get(name: string): Server {
    return this.servers.find((server) => server.name === name)!
  }

  isOpen(a: Server, b: Server): boolean {
    return this.directions.has(`${a.name}>${b.name}`)
  }

  direction(from: Server, to: Server): Direction {
    return this.directions.get(`${from.name}>${to.name}`)!
  }

  connect(a: Server, b: Server): void {
    if (this.isOpen(a, b) || a === b) return
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      this.directions.set(`${from.name}>${to.name}`, new Direction(from, to, this.capacity))
    }
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      from.reads.linkUp(from.replicator.linkUp(to.name, this.direction(from, to)))
      this.heartbeat(from)
    }
  }

  connectAll(): void {
    for (const a of this.servers) for (const b of this.servers) this.connect(a, b)
  }

  /** Whatever was under way is lost. */
  cut(a: Server, b: Server): void {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const direction = this.directions.get(`${from.name}>${to.name}`)
      if (!direction) continue
      direction.open = false
      this.directions.delete(`${from.name}>${to.name}`)
      from.reads.linkDown(to.name, direction)
      from.replicator.linkDown(to.name, direction)
      this.heartbeat(from)
    }
  }

  /** Loses what its journal had not made durable. `backup`: and everything after so many records. */
  crash(server: Server, backup?: number): void {
    for (const other of this.servers) this.cut(server, other)
    if (backup !== undefined) server.durable = Math.min(server.durable, backup)
    server.begin()
  }

  heartbeat(server: Server): void {
    const message = encodeMessage(
      heartbeatToTuple({ signs: [], linked: [...server.replicator.peers.keys()] }),
    )
    for (const peer of server.replicator.peers.values()) peer.link.sendControl(message)
  }

  /** Delivers the next message of a direction, control first unless `bulkFirst`. False when there is none. */
  deliver(from: Server, to: Server, bulkFirst = false): boolean {
    const direction = this.directions.get(`${from.name}>${to.name}`)
    if (!direction) return false
    const [first, second] = bulkFirst
      ? [direction.bulk, direction.control]
      : [direction.control, direction.bulk]
    const bytes = first.shift() ?? second.shift()
    if (!bytes) return false
    this.receive(direction, bytes)
    if (direction.refused && direction.bulk.length <= direction.capacity / 2) {
      direction.refused = false
      direction.from.replicator.drained(direction.from.peer(to))
    }
    return true
  }

  /** Delivers until nothing is under way and no turn is waiting; returns how many messages that took. */
  settle(maxMessages = 100_000): number {
    let count = 0
    for (let busy = true; busy; ) {
      busy = false
      for (const { from, to } of [...this.directions.values()]) {
        while (this.deliver(from, to)) {
          busy = true
          count += 1
          assert.ok(count <= maxMessages, `more than ${maxMessages} messages and no end`)
        }
      }
      for (const server of this.servers) {
        if (server.turns.length > 0) busy = true
        server.turn()
        server.checkBounds()
      }
    }
    return count
  }

  /** The trace since the last time. */
  told(...types: string[]): string[] {
    const lines = this.trace.filter((line) => types.length === 0 || types.includes(line.split(' ')[1]!))
    this.trace = []
    return lines
  }

  private receive({ from, to }: Direction, bytes: Uint8Array): void {
    const peer = to.peer(from)
    const tuple = decodeTuple(bytes)
    const arrow = `${from.name}>${to.name}`
    switch (tuple[0]) {
      case MessageType.delta: {
        const delta = deltaFromTuple(tuple)
        const news = delta.to > (to.partitions.get(delta.partition)?.known(delta.replica) ?? delta.to)
        this.deltas += 1
        if (!news) this.redundant += 1
        this.trace.push(`${arrow} delta ${describeDelta(delta)}`)
        to.replicator.onDelta(peer, tuple, bytes)
        return
      }
      case MessageType.digest: {
        const digest = digestFromTuple(tuple)
        this.trace.push(`${arrow} digest ${describeDigest(digest)}`)
        to.replicator.onDigest(peer, digest)
        return
      }
      case MessageType.acknowledge: {
        const message = acknowledgeFromTuple(tuple)
        this.trace.push(`${arrow} ack by ${message.server}: ${describeRows(message.partitions)}`)
        to.replicator.onAcknowledge(peer, message)
        return
      }
      case MessageType.heartbeat:
        to.replicator.onLinked(peer, heartbeatFromTuple(tuple).linked)
        return
      case MessageType.checksums:
        this.trace.push(`${arrow} checksums`)
        to.replicator.onChecksums(peer, checksumsFromTuple(tuple))
        return
      case MessageType.positionsRequest: {
        const request = positionsRequestFromTuple(tuple)
        this.trace.push(`${arrow} positions-request ${request.number}`)
        to.reads.onRequest(peer, request)
        return
      }
      case MessageType.positions: {
        const message = positionsFromTuple(tuple)
        this.trace.push(`${arrow} positions ${message.number}: ${describeRows(message.partitions)}`)
        to.reads.onPositions(peer, message)
        return
      }
      case MessageType.repairRequest: {
        const request = repairRequestFromTuple(tuple)
        this.trace.push(`${arrow} repair-request ${request.replica}`)
        to.replicator.onRepairRequest(peer, request)
        return
      }
      default:
        assert.fail(`unknown message ${tuple[0]}`)
    }
  }
}

function describeDelta({ partition, replica, from, to, repair, cells }: Delta): string {
  const where = partition === '' ? '' : `${partition} `
  return `${where}${replica} (${from},${to}] ${cells.length}${repair ? ' repair' : ''}`
}

function describeDigest({ afterGap, wantsReply, more, partitions }: DigestMessage): string {
  const flags = `${afterGap ? ' after-gap' : ''}${wantsReply ? ' reply' : ''}${more ? ' more' : ''}`
  return `${describeRows(partitions)}${flags}`
}

function describeRows(partitions: readonly PartitionRows[]): string {
  return partitions
    .flatMap(({ rows }) =>
      rows.filter(({ first }) => first > 0).map(({ replica, first }) => `${replica}:${first}`),
    )
    .sort()
    .join(' ')
}
