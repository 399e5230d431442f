import type { Environment, KeyPair } from '../environment/environment.js'
import { LinkManager } from '../link/link-manager.js'
import type { NodeConfig } from './config.js'
import type { DurableState } from './durable-state.js'
import type { GossipDriver } from './gossip-driver.js'
import type { MeshView } from './mesh-view.js'
import type { NodeEmitter } from './node-events.js'

export interface NodeLinksOptions {
  readonly config: NodeConfig
  readonly environment: Environment
  readonly durables: DurableState
  readonly keyPair: KeyPair
  readonly secret: Uint8Array
  readonly view: MeshView
  readonly emitter: NodeEmitter
  readonly gossip: GossipDriver
  /** A link has come or gone. */
  readonly onLinksChanged: () => void
  /** The link to that server is gone, whoever closed it. */
  readonly onLinkLost: (server: string) => void
}

/** The links of a node: gossip hears what comes over them, the application of their coming and going. */
export function createLinks(options: NodeLinksOptions): LinkManager {
  const { config, durables, emitter, environment, gossip, keyPair, onLinksChanged, secret, view } = options
  return new LinkManager({
    environment,
    logger: config.logger,
    keyPair,
    secret,
    clusterId: config.clusterId,
    serverId: config.serverId,
    replicaId: () => durables.incarnation.replica,
    ...(config.listen && { listen: config.listen }),
    ...(config.advertise !== undefined && { advertisedAddress: config.advertise }),
    compression: config.compression,
    nameOwner: (serverId) => view.nameOwner(serverId),
    owner: {
      linkUp: (link) => {
        onLinksChanged()
        emitter.emit('linkUp', { serverId: link.remote.serverId, address: link.remote.remoteAddress })
        return gossip.linkUp(link)
      },
      linkDown: (link, { reason }) => {
        gossip.linkDown(link)
        options.onLinkLost(link.remote.serverId)
        onLinksChanged()
        emitter.emit('linkDown', { serverId: link.remote.serverId, reason })
      },
      refused: (peer, reason, detail, by) => emitter.emit('linkRefused', { peer, reason, detail, by }),
    },
  })
}
