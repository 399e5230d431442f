import type { Link } from './link.js'
import type { LinkManagerOptions } from './link-manager-options.js'

/**
 * Keeps one link to each server it can reach: listens, dials, greets, refuses, reconnects.
 * (Interface first; `createLinkManager` follows in this file.)
 */
export interface LinkManager {
  /** Open links by server id. A live view. */
  readonly links: ReadonlyMap<string, Link>
  /** `ws://host:port` that others may dial (advertised or bound); '' when this server only dials. */
  readonly listenAddress: string
  /** This process's random id, hex; sent in every hello. */
  readonly instanceId: string
  /** Begins to listen (when so configured) and to dial. @throws AddressInUseError */
  start(): Promise<void>
  /** Addresses to stay linked to. Replaces the former set; links that are open stay open. */
  setTargets(addresses: readonly string[]): void
  /**
   * For operators and chaos scripts: closes and refuses links with these servers until called again without
   * them. An empty set heals; targets that were held back are dialled at once.
   */
  setCut(serverIds: ReadonlySet<string>): void
  /** Stops listening and dialling, sends what is queued if it can, closes all links. Idempotent. */
  stop(): Promise<void>
}

export type CreateLinkManager = (options: LinkManagerOptions) => LinkManager
