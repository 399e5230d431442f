/** One operation that the harness asked a node for, and what it was told of it. */
export interface LedgerEntry {
  readonly number: number
  readonly kind: 'deposit' | 'withdraw'
  readonly storage: string
  readonly item: string
  readonly amount: bigint
  readonly server: number
  readonly atUs: number
  /** When the node said that it is durable. */
  durableUs: number | undefined
  /** When the node said that a majority's journals hold it, and how many servers that is at least. */
  quorum: { readonly atUs: number; readonly servers: number } | undefined
  /** Known never to have happened, or to have been undone. */
  void: boolean
  /** Id of a withdrawal that was not backed: how it ends is for the mesh to say. */
  provisional: string | undefined
  /** It may stand or not whatever was acknowledged: unsettled, or a retry that an earlier attempt may have made void. */
  isOptional: boolean
  /** Part of a move between storages: it counts with its other half or not at all. */
  readonly isMove: boolean
}

/** A server has forgotten everything later than `backToUs` (undefined: everything). */
interface Loss {
  readonly server: number
  readonly atUs: number
  readonly backToUs: number | undefined
}

export interface Bounds {
  readonly least: bigint
  readonly most: bigint
}

/**
 * What the outside world knows to have happened, kept by the harness and never by the nodes. From it follow
 * the quantities that a correct mesh may end with (invariant C1): what was acknowledged as durable counts,
 * unless the disk it was durable on is lost before enough others held it; what was not may count or not.
 */
export class Ledger {
  readonly entries: LedgerEntry[] = []
  readonly #losses: Loss[] = []

  record(
    operation: Pick<LedgerEntry, 'kind' | 'storage' | 'item' | 'amount' | 'server' | 'atUs'> &
      Partial<Pick<LedgerEntry, 'isMove'>>,
  ): LedgerEntry {
    const entry: LedgerEntry = {
      isMove: false,
      ...operation,
      number: this.entries.length,
      durableUs: undefined,
      quorum: undefined,
      void: false,
      provisional: undefined,
      isOptional: false,
    }
    this.entries.push(entry)
    return entry
  }

  serverForgot(server: number, atUs: number, backToUs: number | undefined): void {
    this.#losses.push({ server, atUs, backToUs })
  }

  /** True when a server has ever lost something that was on its disk, or keeps nothing there. */
  hasForgotten(server: number): boolean {
    return this.#losses.some((loss) => loss.server === server)
  }

  /** Whether that server has lost what it did at `atUs`, or may have. */
  hasLostSince(server: number, atUs: number): boolean {
    return this.#losses.some((loss) => loss.server === server && forgets(loss, atUs))
  }

  /** True when the mesh must know of it, whatever has happened. */
  mustStand(entry: LedgerEntry): boolean {
    if (entry.durableUs === undefined || entry.void || entry.isOptional) return false
    const { durableUs, quorum } = entry
    const ownLost = this.#losses.some((loss) => loss.server === entry.server && forgets(loss, durableUs))
    if (!ownLost) return true
    if (quorum === undefined) return false
    const lost = new Set(
      this.#losses.filter((loss) => forgets(loss, quorum.atUs)).map(({ server }) => server),
    )
    return lost.size < quorum.servers
  }

  /** What may be found at the end, for every storage and item that was ever asked for. */
  bounds(): Map<string, Bounds> {
    return this.#sums(({ storage, item }) => keyOf(storage, item))
  }

  /** The same for groups of storages between which items are moved: each move counts whole, so not at all. */
  boundsAcross(groupOf: (storage: string) => string): Map<string, Bounds> {
    return this.#sums(({ storage, item, isMove }) => (isMove ? undefined : keyOf(groupOf(storage), item)))
  }

  #sums(keyOfEntry: (entry: LedgerEntry) => string | undefined): Map<string, Bounds> {
    const bounds = new Map<string, Bounds>()
    for (const entry of this.entries) {
      const key = keyOfEntry(entry)
      if (key === undefined) continue
      const { least, most } = bounds.get(key) ?? { least: 0n, most: 0n }
      const must = this.mustStand(entry)
      if (entry.void) bounds.set(key, { least, most })
      else if (entry.kind === 'deposit') {
        bounds.set(key, { least: must ? least + entry.amount : least, most: most + entry.amount })
      } else {
        bounds.set(key, { least: least - entry.amount, most: must ? most - entry.amount : most })
      }
    }
    return bounds
  }
}

export function keyOf(storage: string, item: string): string {
  return `${storage}\n${item}`
}

/** Whether something that was durable at `atUs` is gone after the loss. */
function forgets(loss: Loss, atUs: number): boolean {
  return atUs <= loss.atUs && (loss.backToUs === undefined || atUs > loss.backToUs)
}
