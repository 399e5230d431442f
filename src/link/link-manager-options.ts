import type { Environment, KeyPair } from '../environment/environment.js'
import type { RefusalReason } from '../sync/errors.js'
import type { ReplicaId } from '../sync/identity.js'
import type { Logger } from '../sync/logger.js'
import type { Link, LinkDownReason, LinkHandler } from './link.js'

export interface LinkManagerOptions {
  readonly environment: Environment
  readonly logger: Logger
  readonly keyPair: KeyPair
  /** The mesh secret, `MIN_SECRET_BYTES` or more. */
  readonly secret: Uint8Array
  readonly clusterId: string
  readonly serverId: string
  /** Asked at every hello, since a replica can change while the node runs. */
  readonly replicaId: () => ReplicaId
  /** Where to listen; left out: this server only dials. Port 0 picks one. */
  readonly listen?: { readonly host: string; readonly port: number }
  /** Told to peers instead of the bound address (NAT, containers, 0.0.0.0). */
  readonly advertisedAddress?: string
  /** Further feature names for the hello; the link adds its own. */
  readonly features?: readonly string[]
  /** Compress large frames when the peer can too. Default true. */
  readonly compression?: boolean
  /** Default `MAX_LINKS`. */
  readonly maxLinks?: number
  /** The public key to which a server id belongs, as far as known; another key under that id is refused. */
  readonly nameOwner?: (serverId: string) => Uint8Array | undefined
  readonly owner: LinkOwner
}

/** Who uses the links: one object, called on jobs of their own, in order, never from within a call of the owner's. */
export interface LinkOwner {
  /**
   * A link to `link.remote.serverId` is open; there is never a second one to the same server at the same
   * time. Returns the handler for its messages; none is delivered before this returns.
   */
  linkUp(link: Link): LinkHandler
  /** Exactly once for each `linkUp`. Nothing is delivered from that link afterwards. */
  linkDown(link: Link, reason: LinkDownReason): void
  /**
   * A link did not come about: `by` tells which side refused. `peer` is the dialled address, or the server id
   * (when proven) or address of the one who dialled.
   */
  refused(peer: string, reason: RefusalReason, detail: string, by: 'local' | 'remote'): void
}

/** Most links at once, whatever the overlay asks for. */
export const MAX_LINKS = 64
/** Most addresses to keep dialling. */
export const MAX_TARGETS = 1024
/** First wait before dialling again, doubled each time up to the maximum; the real wait is 50 to 100 % of it. */
export const RECONNECT_MIN_MS = 200
export const RECONNECT_MAX_MS = 10_000
/** Wait after a refusal that only an operator can change: wrong secret, other cluster, other version. */
export const REFUSED_RETRY_MS = 30_000
/** A link that lived this long makes the next reconnect start from the minimum again. */
export const STABLE_LINK_MS = 5_000
/** Time for the channel's handshake, and again for the hello above it. */
export const HANDSHAKE_TIMEOUT_MS = 5_000
export const HELLO_TIMEOUT_MS = 5_000
/** How long an old link may take to prove that it is alive when a newcomer claims its server's name. */
export const PROBE_TIMEOUT_MS = 1_500
/** Shorter mesh secrets could be guessed. */
export const MIN_SECRET_BYTES = 16
