import type { Environment, Timer } from '../environment/environment.js'
import type { LeasePool, LeaseUse } from '../strong/lease-pool.js'
import type { StrongStore } from '../strong/strong-store.js'
import { ConflictError, FrameError, LockLostError, NoQuorumError } from '../sync/errors.js'
import { hashString } from '../sync/hash.js'
import type { Logger } from '../sync/logger.js'
import type { RegistryFeed } from './feed.js'
import { lastSegment, OWNER_PREFIX, ownerKey, transferKey } from './keys.js'
import { type Transfer, transferOf } from './transfer.js'
import { text } from './values.js'

/** Claims and releases that one server has under way. */
export const MAX_OWNERSHIP_CHANGES = 64
/** How often the shares are looked at anew: servers come and go without a change in the store. */
export const OWNERSHIP_INTERVAL_MS = 1_000
/** Changes within this time are looked at together. */
const SETTLE_MS = 20
const CHANGE_TIMEOUT_MS = 5_000
/** Unowned transfers that are looked at in one turn. */
const MAX_SCANNED = 20_000

/** A transfer that this server, and no other, has to run. */
export interface OwnedTransfer {
  readonly transfer: Transfer
  /** Larger than that of every earlier owner of this transfer. */
  readonly fencingToken: bigint
  /** Fires when this server no longer owns it: stop at once. */
  readonly signal: AbortSignal
}

export interface OwnershipEvents {
  acquired: OwnedTransfer
  /** The transfer has changed; token and signal are the same. */
  updated: OwnedTransfer
  lost: { readonly transferId: string; readonly reason: string }
}

export interface OwnershipOptions {
  readonly store: StrongStore
  readonly environment: Pick<Environment, 'clock' | 'scheduler'>
  readonly leases: LeasePool
  readonly feed: RegistryFeed
  readonly serverId: string
  /** Ids of the servers that are alive as seen here, with or without this one. */
  readonly liveServers: () => Iterable<string>
  readonly logger: Logger
}

interface Owned extends OwnedTransfer {
  readonly controller: AbortController
}

interface HeldUse extends LeaseUse {
  unlisten: () => void
}

type Listener<Name extends keyof OwnershipEvents> = (event: OwnershipEvents[Name]) => void

/**
 * Which transfers this server runs. The owner of a transfer is whoever has its key `transfer-owner/<id>`, put only if
 * there is none, under the owner's lease: one server at a time, until it gives the transfer up, deletes it, or its
 * lease ends. Each server takes unowned ones while it has less than its fair share, ceil(transfers / live servers),
 * and gives up what it has above that; servers that disagree on who is alive only differ in what they aim at.
 *
 * What the store says decides, not what a call returned: a claim of unknown outcome that took effect after all shows
 * up as a key with this server's name and lease, and then the transfer is this server's.
 */
export class TransferOwnership {
  private readonly ids = new Set<string>()
  private readonly unowned = new Set<string>()
  private readonly mine = new Map<string, Owned>()
  /** Places under a lease, of what is owned or may turn out to be. */
  private readonly uses = new Map<string, HeldUse>()
  private readonly changing = new Set<string>()
  /** Given up here; the create revision of the key that is still to be deleted. */
  private readonly releasing = new Map<string, number>()
  private readonly listeners = {
    acquired: new Set<Listener<'acquired'>>(),
    updated: new Set<Listener<'updated'>>(),
    lost: new Set<Listener<'lost'>>(),
  }
  private readonly ends: (() => void)[] = []
  private timer: Timer | undefined
  private settleTimer: Timer | undefined
  private running = false

  constructor(private readonly options: OwnershipOptions) {}

  /** After the feed has been started. */
  start(): void {
    const { feed, store } = this.options
    this.running = true
    this.ends.push(
      feed.listen(({ type, previous, current }) => {
        if (type !== 'transfer') return
        const id = lastSegment((current ?? previous)!.key)
        if (current) this.ids.add(id)
        else this.ids.delete(id)
        this.observe(id)
        if (current && previous) this.updated(id)
        this.settle()
      }),
      store.watch(OWNER_PREFIX, (change) => {
        if (change.kind === 'reset') for (const id of this.ids) this.observe(id)
        else {
          for (const event of change.events) {
            this.observe(lastSegment(event.kind === 'put' ? event.current.key : event.key))
          }
        }
        this.settle()
      }),
    )
    for (const id of feed.transferIds()) this.ids.add(id)
    for (const id of this.ids) this.observe(id)
    this.tick()
  }

  /** Owns nothing from here on. The keys go when the leases are given back (`LeasePool.stop`). */
  stop(): void {
    this.running = false
    this.timer?.cancel()
    this.settleTimer?.cancel()
    for (const end of this.ends.splice(0)) end()
    for (const id of [...this.mine.keys()]) this.lose(id, 'this server is stopping')
  }

  /** By transfer id. Looks at the clock, so that nothing is in it whose lease may have ended. */
  owned(): ReadonlyMap<string, OwnedTransfer> {
    this.options.leases.check()
    return this.mine
  }

  /** The server that owns a transfer, as the store has it here; its lease may be about to end. */
  ownerOf(transferId: string): string | undefined {
    const owner = this.options.store.get(ownerKey(transferId))
    return owner && text(owner.value)
  }

  /** Returns the function that ends it. A listener that throws is logged and holds nobody back. */
  on<Name extends keyof OwnershipEvents>(name: Name, listener: Listener<Name>): () => void {
    const listeners = this.listeners[name] as Set<Listener<Name>>
    listeners.add(listener)
    return () => listeners.delete(listener)
  }

  private emit<Name extends keyof OwnershipEvents>(name: Name, event: OwnershipEvents[Name]): void {
    for (const listener of [...this.listeners[name]] as Listener<Name>[]) {
      try {
        listener(event)
      } catch (error) {
        this.options.logger.error({ error, event: name }, 'a listener of transfer ownership has thrown')
      }
    }
  }

  /** Makes what is known here of one transfer agree with the store. */
  private observe(id: string): void {
    if (!this.running) return
    const owner = this.options.store.get(ownerKey(id))
    if (this.ids.has(id) && owner === undefined) this.unowned.add(id)
    else this.unowned.delete(id)
    if (this.releasing.has(id) && this.releasing.get(id) !== owner?.createRevision) this.releasing.delete(id)
    const claimed =
      owner !== undefined &&
      this.ids.has(id) &&
      !this.releasing.has(id) &&
      text(owner.value) === this.options.serverId
    const token = claimed && this.useOf(id, owner.lease) ? BigInt(owner.createRevision) : undefined
    const held = this.mine.get(id)
    if (held && held.fencingToken !== token) {
      this.lose(id, this.ids.has(id) ? 'another server may take it' : 'the transfer is deleted')
    }
    if (token !== undefined && !this.mine.has(id)) this.adopt(id, token)
    if (owner === undefined && !this.ids.has(id) && !this.changing.has(id)) this.endUse(id)
  }

  private adopt(id: string, fencingToken: bigint): void {
    const transfer = this.read(id)
    if (transfer === undefined) return
    const controller = new AbortController()
    const owned: Owned = {
      transfer,
      fencingToken,
      signal: controller.signal,
      controller,
    }
    this.mine.set(id, owned)
    this.emit('acquired', owned)
  }

  private updated(id: string): void {
    const owned = this.mine.get(id)
    const transfer = owned && this.read(id)
    if (transfer === undefined || transfer.version === owned!.transfer.version) return
    const now: Owned = { ...owned!, transfer }
    this.mine.set(id, now)
    this.emit('updated', now)
  }

  private lose(id: string, reason: string): void {
    const owned = this.mine.get(id)
    if (owned === undefined) return
    this.mine.delete(id)
    owned.controller.abort(new LockLostError(`transfer ${id} is not this server's any more: ${reason}`))
    this.emit('lost', { transferId: id, reason })
  }

  /**
   * The place of a key that is there, under a lease of this server; undefined when the lease is not this server's or
   * lost. A claim given up as unknown may come late, so the key may have no place here yet.
   */
  private useOf(id: string, lease: number): LeaseUse | undefined {
    const use = this.uses.get(id)
    if (use?.lease.id === lease) return use.lease.isValid() ? use : undefined
    const found = this.options.leases.useOf(lease)
    if (found === undefined) return undefined
    this.endUse(id)
    return this.keep(id, found)
  }

  private keep(id: string, { lease, end }: LeaseUse): LeaseUse {
    const use: HeldUse = { lease, end, unlisten: () => undefined }
    this.uses.set(id, use)
    use.unlisten = lease.onLost(({ message }) => {
      this.lose(id, message)
      this.endUse(id)
    })
    return use
  }

  private endUse(id: string): void {
    const use = this.uses.get(id)
    if (use === undefined) return
    this.uses.delete(id)
    use.unlisten()
    use.end()
  }

  private read(id: string): Transfer | undefined {
    const entry = this.options.store.get(transferKey(id))
    try {
      return entry && transferOf(entry)
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      this.options.logger.warn({ transfer: id, error }, 'a transfer cannot be read by this version')
      return undefined
    }
  }

  private tick(): void {
    if (!this.running) return
    this.timer = this.options.environment.scheduler.after(OWNERSHIP_INTERVAL_MS, () => this.tick())
    this.balance(true)
  }

  private settle(): void {
    if (!this.running) return
    this.settleTimer ??= this.options.environment.scheduler.after(SETTLE_MS, () => {
      this.settleTimer = undefined
      this.balance(false)
    })
  }

  /**
   * Gives up and claims. Right after a change a server claims only those that the hash of their id gives to it, so
   * that the servers do not all run after the same ones; what is then left over it takes at the next tick.
   */
  private balance(everything: boolean): void {
    if (!this.running) return
    this.options.leases.check()
    const live = [...new Set([...this.options.liveServers(), this.options.serverId])].sort()
    const share = Math.ceil(this.ids.size / live.length)
    for (const [id, revision] of this.releasing) this.change(id, () => this.release(id, revision))
    for (const [id, { fencingToken }] of this.mine) {
      if (this.mine.size <= share || this.changing.size >= MAX_OWNERSHIP_CHANGES) break
      const revision = Number(fencingToken)
      this.releasing.set(id, revision)
      this.lose(id, 'it is above the fair share of this server')
      this.change(id, () => this.release(id, revision))
    }
    const position = live.indexOf(this.options.serverId)
    let scanned = 0
    let claiming = [...this.changing].filter((id) => !this.releasing.has(id)).length
    for (const id of this.unowned) {
      if (this.mine.size + claiming >= share || ++scanned > MAX_SCANNED) break
      if (!everything && (hashString(0, id) >>> 0) % live.length !== position) continue
      if (this.change(id, () => this.claim(id))) claiming += 1
    }
  }

  /** One thing at a time for each transfer, and a bounded number for all. */
  private change(id: string, work: () => Promise<void>): boolean {
    if (this.changing.has(id) || this.changing.size >= MAX_OWNERSHIP_CHANGES) return false
    this.changing.add(id)
    work()
      .then(() => this.settle())
      .catch((error: unknown) => {
        this.options.logger.debug(
          { transfer: id, error },
          'ownership of a transfer did not change, trying again',
        )
      })
      .finally(() => {
        this.changing.delete(id)
        this.observe(id)
      })
      .catch((error: unknown) => {
        this.options.logger.error({ transfer: id, error }, 'ownership of a transfer cannot be told')
      })
    return true
  }

  private async claim(id: string): Promise<void> {
    if (this.read(id) === undefined) return
    this.options.leases.check()
    const use = this.uses.get(id) ?? this.keep(id, await this.options.leases.use())
    let certain = false
    try {
      const { succeeded } = await this.options.store.transact(
        {
          comparisons: [
            { key: ownerKey(id), target: 'exists', exists: false },
            { key: transferKey(id), target: 'exists', exists: true },
          ],
          success: [
            {
              kind: 'put',
              key: ownerKey(id),
              value: new TextEncoder().encode(this.options.serverId),
              lease: use.lease.id,
            },
          ],
        },
        { timeoutMs: CHANGE_TIMEOUT_MS },
      )
      certain = !succeeded
    } catch (error) {
      certain = error instanceof NoQuorumError || error instanceof ConflictError
      // Refused by the state machine: perhaps because it has ended the lease.
      if (error instanceof ConflictError) await use.lease.verify()
      throw error
    } finally {
      // When it may be there, or come yet, its place under the lease stays taken. An earlier claim may have come.
      if (certain && !this.mine.has(id)) this.endUse(id)
    }
  }

  private async release(id: string, createRevision: number): Promise<void> {
    const { succeeded } = await this.options.store.transact(
      {
        comparisons: [
          { key: ownerKey(id), target: 'create-revision', operator: '=', operand: createRevision },
        ],
        success: [{ kind: 'delete', key: ownerKey(id) }],
      },
      { timeoutMs: CHANGE_TIMEOUT_MS },
    )
    // Either way that key is gone.
    this.releasing.delete(id)
    if (succeeded) this.endUse(id)
  }
}
