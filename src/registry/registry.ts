import type { Environment } from '../environment/environment.js'
import { LeasePool } from '../strong/lease-pool.js'
import { Locks } from '../strong/locks.js'
import { DEFAULT_LEASE_TTL_MS, MIN_LEASE_TTL_MS } from '../strong/node-lease.js'
import type { StrongStore } from '../strong/strong-store.js'
import { InvalidArgumentError } from '../sync/errors.js'
import type { SyncEvent } from '../sync/event.js'
import type { Logger } from '../sync/logger.js'
import { Anchors } from './anchors.js'
import { RegistryFeed } from './feed.js'
import { syncEventsOf } from './sync-events.js'
import { TransferOwnership } from './transfer-ownership.js'
import { Transfers } from './transfers.js'

export interface RegistryOptions {
  readonly store: StrongStore
  readonly environment: Pick<Environment, 'clock' | 'scheduler' | 'random'>
  readonly serverId: string
  /** Ids of the servers that are alive as seen here: between them the transfers are shared out. */
  readonly liveServers: () => Iterable<string>
  /** Gets ANCHOR_* and TRANSFER_* events from `start` on, in order. Must not throw. */
  readonly onEvent: (event: SyncEvent) => void
  readonly logger: Logger
  /** Of the leases for locks and ownership; default `DEFAULT_LEASE_TTL_MS`. */
  readonly leaseTtlMs?: number
}

export interface Registry {
  readonly anchors: Anchors
  readonly transfers: Transfers
  readonly locks: Locks
  readonly ownership: TransferOwnership
  /** Changes of anchors and transfers as they come. */
  readonly feed: RegistryFeed
  /** Once the store can be read. */
  start(): void
  /** Ends waits and watches, then gives locks and transfers back to the group if it can. Never rejects. */
  stop(): Promise<void>
}

/** The structural things of a mesh on top of its strong store. @throws InvalidArgumentError */
export function createRegistry(options: RegistryOptions): Registry {
  const { store, environment, serverId, liveServers, onEvent, logger } = options
  const { leaseTtlMs: ttlMs = DEFAULT_LEASE_TTL_MS } = options
  if (!(ttlMs >= MIN_LEASE_TTL_MS))
    throw new InvalidArgumentError(`leaseTtlMs: at least ${MIN_LEASE_TTL_MS}, got ${ttlMs}`)
  const leases = new LeasePool({ store, environment, logger, ttlMs })
  const locks = new Locks({ store, environment, leases, logger })
  const feed = new RegistryFeed({ store, logger })
  const parts = { store, environment, serverId, feed }
  const ownership = new TransferOwnership({ store, environment, leases, feed, serverId, liveServers, logger })
  feed.listen((change) => {
    for (const event of syncEventsOf(change)) onEvent(event)
  })
  return {
    anchors: new Anchors(parts),
    transfers: new Transfers(parts),
    locks,
    ownership,
    feed,
    start() {
      feed.start()
      ownership.start()
    },
    async stop() {
      ownership.stop()
      locks.stop()
      feed.stop()
      await leases.stop()
    },
  }
}
