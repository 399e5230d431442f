import { CellKind, type ObjectValue } from '../crdt/cell.js'
import type { Partition } from '../crdt/partition.js'
import { FrameError } from '../sync/errors.js'
import { incarnationOfReplica, type ReplicaId, serverOfReplica } from '../sync/identity.js'
import type { Logger } from '../sync/logger.js'
import { expectArray, expectBoolean, expectBytesOf, expectString, expectUint } from '../wire/expect.js'
import type { WireValue } from '../wire/wire-value.js'

/** What a server says of itself, in its own cell of the shared partition. */
export interface MemberCard {
  readonly replica: ReplicaId
  /** `ws://host:port`, or '' when it only dials. */
  readonly address: string
  readonly worlds: readonly string[]
  /** Of the program, for people. */
  readonly version: string
  /** 32 bytes: who has this key is this server. */
  readonly publicKey: Uint8Array
  /** It keeps nothing on disk, so its key and replica are new at every start. */
  readonly memoryOnly: boolean
  /** It has left the mesh in good order for longer and is not counted in a quorum. */
  readonly departed: boolean
  /** Wall time of its start. */
  readonly startedMs: number
}

const MAX_ADDRESS_LENGTH = 512
const MAX_VERSION_LENGTH = 64
const MAX_WORLDS = 1024
const PUBLIC_KEY_BYTES = 32

export function memberToValue(card: MemberCard): ObjectValue {
  const { replica, address, worlds, version, publicKey, memoryOnly, departed, startedMs } = card
  return [0, replica, address, [...worlds], version, publicKey, memoryOnly, departed, startedMs]
}

/** @throws FrameError */
export function memberFromValue(value: readonly WireValue[]): MemberCard {
  return {
    replica: expectString(value[1], 128, 'member.replica'),
    address: expectString(value[2], MAX_ADDRESS_LENGTH, 'member.address'),
    worlds: expectArray(value[3], MAX_WORLDS, 'member.worlds').map((world) =>
      expectString(world, 128, 'member.world'),
    ),
    version: expectString(value[4], MAX_VERSION_LENGTH, 'member.version'),
    publicKey: expectBytesOf(value[5], PUBLIC_KEY_BYTES, 'member.public_key'),
    memoryOnly: expectBoolean(value[6], 'member.memory_only'),
    departed: expectBoolean(value[7], 'member.departed'),
    startedMs: expectUint(value[8], 'member.started_ms'),
  }
}

/**
 * The servers of the mesh as their own cells tell. A server that has had several incarnations has a cell from
 * each; the latest counts. A card that cannot be read (a newer version, a defect) leaves the one before.
 */
export class MemberDirectory {
  private cards = new Map<string, MemberCard>()
  private stale = true

  constructor(
    private readonly shared: Partition,
    private readonly logger: Logger,
  ) {}

  /** A member cell has changed. */
  invalidate(): void {
    this.stale = true
  }

  all(): ReadonlyMap<string, MemberCard> {
    if (this.stale) this.rebuild()
    return this.cards
  }

  get(server: string): MemberCard | undefined {
    return this.all().get(server)
  }

  private rebuild(): void {
    this.stale = false
    this.cards = new Map()
    const namespace = this.shared.table.findNamespace(CellKind.member, '')
    for (const [server, entry] of namespace?.entries ?? []) {
      const pending = this.shared.own.pendingObject(entry)
      if (pending) this.add(server, pending)
      for (const cell of this.shared.table.cellsOf(entry)) {
        // A replica may speak for its own server only.
        const writer = this.shared.replicaAt(this.shared.table.replicaOf(cell))
        if (serverOfReplica(writer) === server) this.add(server, this.shared.table.objectValue(cell))
      }
    }
  }

  private add(server: string, value: ObjectValue): void {
    try {
      const card = memberFromValue(value)
      const other = this.cards.get(server)
      if (other && incarnationOfReplica(other.replica) >= incarnationOfReplica(card.replica)) return
      this.cards.set(server, card)
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      this.logger.warn({ serverId: server, error }, 'a member cell cannot be read')
    }
  }
}
