import type { Environment } from '../environment/environment.js'
import type { Replicator } from '../gossip/replicator.js'
import type { NodeConfig } from './config.js'
import type { DurableState } from './durable-state.js'
import type { MeshView } from './mesh-view.js'
import type { NodeEmitter } from './node-events.js'

/** Where settlements and strong operations stand in a node. */
export interface Room {
  readonly config: NodeConfig
  readonly environment: Environment
  readonly durables: DurableState
  readonly view: MeshView
  readonly emitter: NodeEmitter
  readonly replicator: () => Replicator
  /** Whether own writes reach the journal: only then may rights and items move. */
  readonly canWrite: () => boolean
}
