import type { Environment } from '../environment/environment.js'
import { uuidV7 } from '../environment/uuid.js'
import type { Operation } from '../raft/state-machine/commands.js'
import type { StrongOptions, StrongStore } from '../strong/strong-store.js'
import { checkStorageId, checkWorldId } from '../sync/checks.js'
import { ConflictError, InvalidArgumentError } from '../sync/errors.js'
import {
  type Anchor,
  type AnchorContent,
  anchorContentToWire,
  anchorOf,
  checkAnchorContent,
  checkPosition,
} from './anchor.js'
import { prepareDeletion } from './anchor-deletion.js'
import { change, type ReadOptions, readBarrier } from './attempts.js'
import { checkEntityId, checkExpectedVersion, checkFields, encodeEntity, requireVersion } from './entity.js'
import type { EntityChange, RegistryFeed } from './feed.js'
import {
  ANCHOR_PREFIX,
  anchorKey,
  lastSegment,
  type Position,
  positionKey,
  storageKey,
  storagePrefix,
  worldPrefix,
} from './keys.js'
import type { Metadata } from './metadata.js'
import { checkPageOptions, type Page, type PageOptions, readPage } from './pages.js'
import { NO_VALUE, put, putText, remove, sameWire, text } from './values.js'

export interface NewAnchor {
  /**
   * A UUID of the caller's, so that a retry after OutcomeUnknownError makes one anchor: the same id with the same
   * content succeeds again. Left out: a new one.
   */
  readonly id?: string
  readonly storage: string
  readonly world: string
  readonly position: Position
  readonly metadata?: Metadata
}

export type AnchorChanges = Partial<Omit<NewAnchor, 'id'>>

export interface AnchorFilter extends PageOptions, ReadOptions {
  readonly world?: string
  readonly storage?: string
  /** Goes with `world`. */
  readonly position?: Position
}

export interface VersionOptions extends StrongOptions {
  /** Refuses when the entity has another version by now. */
  readonly expectedVersion?: number
}

export interface AnchorDeletionOptions extends VersionOptions {
  /** Also deletes the transfers at this anchor; otherwise they stand in the way. */
  readonly cascade?: boolean
}

export interface RegistryParts {
  readonly store: StrongStore
  readonly environment: Pick<Environment, 'clock' | 'random'>
  readonly serverId: string
  readonly feed: RegistryFeed
}

const OPTIONS = ['timeoutMs', 'signal']

/**
 * The mesh's anchors. Changes are strong: they happen on all servers or nowhere, and throw NoQuorumError when it
 * certainly did not happen, OutcomeUnknownError when that is not known. Beside those of StrongStore, the errors
 * are InvalidArgumentError, NotFoundError, and ConflictError (position taken, other version, still in use).
 */
export class Anchors {
  constructor(private readonly parts: RegistryParts) {}

  /** @throws ConflictError when the position is taken, or the id by an anchor of other content */
  async create(input: NewAnchor, options: StrongOptions = {}): Promise<Anchor> {
    checkFields(input, 'anchor', ['id', 'storage', 'world', 'position', 'metadata'])
    checkFields(options, 'options', OPTIONS)
    const content = checkAnchorContent(input)
    const { environment, serverId } = this.parts
    const id = input.id === undefined ? uuidV7(environment) : checkEntityId(input.id, 'id')
    const nowMs = Math.floor(environment.clock.wallMs())
    const author = { createdBy: serverId, createdAtMs: nowMs, updatedBy: serverId, updatedAtMs: nowMs }
    const key = anchorKey(id)
    const wire = anchorContentToWire(content)
    const value = encodeEntity(author, wire)
    let existing: Anchor | undefined
    const committed = await change(this.parts, `create of anchor ${id}`, options, () => {
      existing = this.find(id)
      if (existing !== undefined) {
        if (sameWire(anchorContentToWire(existing), wire)) return undefined
        throw new ConflictError(`anchor ${id} exists with other content`)
      }
      this.requireFree(content)
      return {
        comparisons: [
          { key, target: 'exists', exists: false },
          { key: positionKey(content.world, content.position), target: 'exists', exists: false },
        ],
        operations: [put(key, value), ...putIndex(id, content)],
      }
    })
    if (committed === undefined) return existing!
    return anchorOf({ key, value, modRevision: committed.revision })
  }

  /**
   * Changes the given fields; `metadata` as a whole. Without `expectedVersion` it is applied to whatever the
   * anchor is by then.
   * @throws NotFoundError; ConflictError for another version or a taken position
   */
  async update(id: string, changes: AnchorChanges, options: VersionOptions = {}): Promise<Anchor> {
    checkEntityId(id, 'id')
    checkFields(changes, 'changes', ['storage', 'world', 'position', 'metadata'])
    checkFields(options, 'options', [...OPTIONS, 'expectedVersion'])
    checkExpectedVersion(options.expectedVersion)
    const key = anchorKey(id)
    const { environment, serverId } = this.parts
    let value: Uint8Array = NO_VALUE
    const committed = await change(this.parts, `update of anchor ${id}`, options, () => {
      const before = this.require(id, options.expectedVersion)
      const content = checkAnchorContent({ ...before, ...changes })
      const updatedAtMs = Math.floor(environment.clock.wallMs())
      value = encodeEntity({ ...before, updatedBy: serverId, updatedAtMs }, anchorContentToWire(content))
      const moved =
        positionKey(before.world, before.position) !== positionKey(content.world, content.position)
      if (moved) this.requireFree(content)
      const to = positionKey(content.world, content.position)
      return {
        comparisons: [
          { key, target: 'mod-revision', operator: '=', operand: before.version },
          ...(moved ? [{ key: to, target: 'exists', exists: false } as const] : []),
        ],
        operations: [
          put(key, value),
          ...(moved ? [remove(positionKey(before.world, before.position))] : []),
          ...(before.storage === content.storage ? [] : [remove(storageKey(before.storage, id))]),
          ...(moved || before.storage !== content.storage ? putIndex(id, content) : []),
        ],
      }
    })
    return anchorOf({ key, value, modRevision: committed!.revision })
  }

  /**
   * With `cascade` and more than `CASCADE_BATCH` transfers it happens in several steps, the anchor in the last
   * one: when it fails between, some of the transfers are gone, and calling again goes on.
   * @throws NotFoundError; ConflictError for another version, or naming the transfers that are in the way
   */
  async delete(id: string, options: AnchorDeletionOptions = {}): Promise<void> {
    checkEntityId(id, 'id')
    checkFields(options, 'options', [...OPTIONS, 'expectedVersion', 'cascade'])
    checkExpectedVersion(options.expectedVersion)
    let finished = false
    while (!finished) {
      await change(this.parts, `delete of anchor ${id}`, options, () => {
        const anchor = this.require(id, options.expectedVersion)
        const deletion = prepareDeletion(this.parts, anchor, options.cascade ?? false)
        finished = deletion.last
        return deletion
      })
    }
  }

  /** Undefined when there is none. Local unless `linearizable`; see `revision` for how old that is. */
  async get(id: string, options: ReadOptions = {}): Promise<Anchor | undefined> {
    checkEntityId(id, 'id')
    checkFields(options, 'options', [...OPTIONS, 'linearizable'])
    await readBarrier(this.parts.store, options)
    return this.find(id)
  }

  /** Synchronously, as this server has it. @throws FrameError when a later version has written it */
  peek(id: string): Anchor | undefined {
    return this.find(id)
  }

  /** Revision of the store that local reads show. */
  get revision(): number {
    return this.parts.store.revision
  }

  /** A page of the anchors that fit all that is given, in the order of the index that answers. */
  async list(filter: AnchorFilter = {}): Promise<Page<Anchor>> {
    const { world, storage, position, limit, after, ...options } = filter
    checkFields(options, 'filter', [...OPTIONS, 'linearizable'])
    checkPageOptions(filter)
    if (world !== undefined) checkWorldId(world)
    if (storage !== undefined) checkStorageId(storage)
    if (position !== undefined && world === undefined)
      throw new InvalidArgumentError('a position needs its world')
    const at = position && checkPosition(position)
    await readBarrier(this.parts.store, options)
    if (at !== undefined) return this.listAt(world!, at, storage)
    const page = { ...(limit !== undefined && { limit }), ...(after !== undefined && { after }) }
    const { store } = this.parts
    if (storage !== undefined) {
      return readPage(store, storagePrefix(storage), page, ({ key }) => {
        const anchor = this.find(lastSegment(key))
        return world === undefined || anchor?.world === world ? anchor : undefined
      })
    }
    if (world !== undefined) {
      return readPage(store, worldPrefix(world), page, ({ value }) => this.find(text(value)))
    }
    return readPage(store, ANCHOR_PREFIX, page, anchorOf)
  }

  /**
   * Changes from now on, in order, until the signal, the registry's end, or the loop is left; throws
   * OverloadedError when the reader leaves too many waiting.
   */
  watch(options: { readonly signal?: AbortSignal } = {}): AsyncIterableIterator<EntityChange<Anchor>> {
    checkFields(options, 'options', ['signal'])
    return this.parts.feed.watchAnchors(options.signal)
  }

  private find(id: string): Anchor | undefined {
    const found = this.parts.store.get(anchorKey(id))
    return found && anchorOf(found)
  }

  private require(id: string, expectedVersion: number | undefined): Anchor {
    return requireVersion(this.find(id), `anchor ${id}`, expectedVersion)
  }

  private requireFree({ world, position }: AnchorContent): void {
    const taken = this.parts.store.get(positionKey(world, position))
    if (taken === undefined) return
    const { x, y, z } = position
    throw new ConflictError(`${world} ${x},${y},${z} is taken by anchor ${text(taken.value)}`)
  }

  private listAt(world: string, position: Position, storage: string | undefined): Page<Anchor> {
    const { store } = this.parts
    const found = store.get(positionKey(world, position))
    const anchor = found && this.find(text(found.value))
    const fits = anchor !== undefined && (storage === undefined || anchor.storage === storage)
    return { entries: fits ? [anchor] : [], revision: store.revision, next: undefined }
  }
}

function putIndex(id: string, { world, position, storage }: AnchorContent): Operation[] {
  return [putText(positionKey(world, position), id), put(storageKey(storage, id), NO_VALUE)]
}
