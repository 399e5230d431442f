import { uuidV7 } from '../environment/uuid.js'
import type { StrongOptions } from '../strong/strong-store.js'
import { ConflictError, NotFoundError } from '../sync/errors.js'
import { putDeletion, removeTransfer } from './anchor-deletion.js'
import type { RegistryParts, VersionOptions } from './anchors.js'
import { change, type ReadOptions, readBarrier } from './attempts.js'
import { checkEntityId, checkExpectedVersion, checkFields, encodeEntity, requireVersion } from './entity.js'
import type { EntityChange } from './feed.js'
import type { ItemPattern } from './item-patterns.js'
import {
  anchorKey,
  lastSegment,
  linksKey,
  TRANSFER_PREFIX,
  transferAtKey,
  transferKey,
  transfersAtPrefix,
} from './keys.js'
import type { Metadata } from './metadata.js'
import { checkPageOptions, type Page, type PageOptions, readPage } from './pages.js'
import { checkTransferContent, type Transfer, transferContentToWire, transferOf } from './transfer.js'
import { NO_VALUE, put, sameWire } from './values.js'

export interface NewTransfer {
  /** As with anchors: for retries. */
  readonly id?: string
  readonly from: string
  readonly to: string
  /** Canonical item keys, or patterns of item ids with `*`. */
  readonly items: readonly ItemPattern[]
  /** Items per second; default `DEFAULT_TRANSFER_RATE`. */
  readonly rate?: number
  /** Default true. */
  readonly enabled?: boolean
  readonly metadata?: Metadata
}

/** Its anchors stay: a transfer between others is another transfer. */
export type TransferChanges = Partial<Pick<NewTransfer, 'items' | 'rate' | 'enabled' | 'metadata'>>

export interface TransferFilter extends PageOptions, ReadOptions {
  /** Id of an anchor that it begins or ends at. */
  readonly anchor?: string
}

const OPTIONS = ['timeoutMs', 'signal']

/** The mesh's transfers, under the same rules as `Anchors`. */
export class Transfers {
  constructor(private readonly parts: RegistryParts) {}

  /** @throws NotFoundError when an anchor does not exist; ConflictError when the id is taken by other content */
  async create(input: NewTransfer, options: StrongOptions = {}): Promise<Transfer> {
    checkFields(input, 'transfer', ['id', 'from', 'to', 'items', 'rate', 'enabled', 'metadata'])
    checkFields(options, 'options', OPTIONS)
    const content = checkTransferContent(input)
    const { environment, serverId, store } = this.parts
    const id = input.id === undefined ? uuidV7(environment) : checkEntityId(input.id, 'id')
    const nowMs = Math.floor(environment.clock.wallMs())
    const author = { createdBy: serverId, createdAtMs: nowMs, updatedBy: serverId, updatedAtMs: nowMs }
    const key = transferKey(id)
    const { from, to } = content
    const wire = transferContentToWire(content)
    const value = encodeEntity(author, wire)
    let existing: Transfer | undefined
    const committed = await change(this.parts, `create of transfer ${id}`, options, () => {
      existing = this.find(id)
      if (existing !== undefined) {
        if (sameWire(transferContentToWire(existing), wire)) return undefined
        throw new ConflictError(`transfer ${id} exists with other content`)
      }
      for (const anchor of [from, to]) {
        if (store.get(anchorKey(anchor)) === undefined) throw new NotFoundError(`no anchor ${anchor}`)
      }
      return {
        comparisons: [
          { key, target: 'exists', exists: false },
          { key: anchorKey(from), target: 'exists', exists: true },
          { key: anchorKey(to), target: 'exists', exists: true },
        ],
        operations: [
          put(key, value),
          ...[from, to].flatMap((anchor) => [
            put(transferAtKey(anchor, id), NO_VALUE),
            put(linksKey(anchor), NO_VALUE),
          ]),
        ],
      }
    })
    if (committed === undefined) return existing!
    return transferOf({ key, value, modRevision: committed.revision })
  }

  /** Changes the given fields; lists and `metadata` as a whole. @throws NotFoundError, ConflictError */
  async update(id: string, changes: TransferChanges, options: VersionOptions = {}): Promise<Transfer> {
    checkEntityId(id, 'id')
    checkFields(changes, 'changes', ['items', 'rate', 'enabled', 'metadata'])
    checkFields(options, 'options', [...OPTIONS, 'expectedVersion'])
    checkExpectedVersion(options.expectedVersion)
    const key = transferKey(id)
    const { environment, serverId } = this.parts
    let value: Uint8Array = NO_VALUE
    const committed = await change(this.parts, `update of transfer ${id}`, options, () => {
      const before = this.require(id, options.expectedVersion)
      const content = checkTransferContent({ ...before, ...changes })
      const updatedAtMs = Math.floor(environment.clock.wallMs())
      value = encodeEntity({ ...before, updatedBy: serverId, updatedAtMs }, transferContentToWire(content))
      return {
        comparisons: [{ key, target: 'mod-revision', operator: '=', operand: before.version }],
        operations: [put(key, value)],
      }
    })
    return transferOf({ key, value, modRevision: committed!.revision })
  }

  /** @throws NotFoundError, ConflictError */
  async delete(id: string, options: VersionOptions = {}): Promise<void> {
    checkEntityId(id, 'id')
    checkFields(options, 'options', [...OPTIONS, 'expectedVersion'])
    checkExpectedVersion(options.expectedVersion)
    await change(this.parts, `delete of transfer ${id}`, options, () => {
      const transfer = this.require(id, options.expectedVersion)
      return {
        comparisons: [
          { key: transferKey(id), target: 'mod-revision', operator: '=', operand: transfer.version },
        ],
        operations: [putDeletion(this.parts), ...removeTransfer(transfer)],
      }
    })
  }

  /** Undefined when there is none. Local unless `linearizable`; see `revision` for how old that is. */
  async get(id: string, options: ReadOptions = {}): Promise<Transfer | undefined> {
    checkEntityId(id, 'id')
    checkFields(options, 'options', [...OPTIONS, 'linearizable'])
    await readBarrier(this.parts.store, options)
    return this.find(id)
  }

  /** Revision of the store that local reads show. */
  get revision(): number {
    return this.parts.store.revision
  }

  /** A page of all transfers, or of those at one anchor, in the order of their ids. */
  async list(filter: TransferFilter = {}): Promise<Page<Transfer>> {
    const { anchor, limit, after, ...options } = filter
    checkFields(options, 'filter', [...OPTIONS, 'linearizable'])
    checkPageOptions(filter)
    if (anchor !== undefined) checkEntityId(anchor, 'anchor')
    await readBarrier(this.parts.store, options)
    const page = { ...(limit !== undefined && { limit }), ...(after !== undefined && { after }) }
    const { store } = this.parts
    if (anchor === undefined) return readPage(store, TRANSFER_PREFIX, page, transferOf)
    return readPage(store, transfersAtPrefix(anchor), page, ({ key }) => this.find(lastSegment(key)))
  }

  /** As `Anchors.watch`. */
  watch(options: { readonly signal?: AbortSignal } = {}): AsyncIterableIterator<EntityChange<Transfer>> {
    checkFields(options, 'options', ['signal'])
    return this.parts.feed.watchTransfers(options.signal)
  }

  private find(id: string): Transfer | undefined {
    const found = this.parts.store.get(transferKey(id))
    return found && transferOf(found)
  }

  private require(id: string, expectedVersion: number | undefined): Transfer {
    return requireVersion(this.find(id), `transfer ${id}`, expectedVersion)
  }
}
