import type { AuditRow } from './audit-verdict.js'

/** What the orchestrator and the game servers say to each other over Node's IPC channel. */

export interface StartParams {
  readonly clusterId: string
  readonly serverId: string
  /** Hex. Over the channel, so that it is in no process list. */
  readonly secret: string
  readonly dataDir: string
  readonly operationLog: string
  readonly structureLog: string
  readonly peers: readonly string[]
  readonly seed: number
  readonly players: number
  /** This start founds the strong group of the mesh. */
  readonly found: boolean
}

export interface ServerState {
  readonly linked: readonly string[]
  readonly numberingHeld: boolean
  readonly settled: boolean
  /** Equal on two servers when their vectors and their state are. */
  readonly fingerprint: string
  /** Server id of the leader of the strong group as seen here, and in which term. */
  readonly leader: string | undefined
  readonly term: number
  readonly voters: readonly string[]
}

export interface ShownQuantities {
  readonly state: ServerState
  /** The state's vector counts all that is shown: no own write was visible that had no number yet. */
  readonly isWhole: boolean
  /** [storage, item, quantity as a decimal string] */
  readonly rows: readonly (readonly [string, string, string])[]
}

/** Ids of all anchors and transfers that a server shows. */
export interface Structure {
  readonly anchors: readonly string[]
  readonly transfers: readonly string[]
}

export interface Methods {
  /** Starts the node; resolves with the address that others dial. */
  readonly start: { params: StartParams; result: { readonly address: string } }
  /** The players begin; they play until `rest`. */
  readonly play: { params: undefined; result: unknown }
  /** The players stop; resolves when everything they did is settled and durable. */
  readonly rest: { params: undefined; result: unknown }
  /** The builders stop; resolves when they have. The players play on, and transfers go on moving items. */
  readonly restBuilders: { params: undefined; result: unknown }
  readonly cut: { params: readonly string[]; result: unknown }
  readonly state: { params: undefined; result: ServerState }
  /** Everything visible, and the very state that shows it. */
  readonly quantities: { params: undefined; result: ShownQuantities }
  /** Items with withdrawals, of any server, that are not settled yet as seen here. */
  readonly unsettled: { params: undefined; result: number }
  /** Nothing is provisional any more: the last ones are written down, and all of it is durable. */
  readonly conclude: { params: undefined; result: unknown }
  readonly audit: { params: undefined; result: readonly AuditRow[] }
  readonly structure: { params: undefined; result: Structure }
  /** Transfers that nobody owns as seen here, and own ones that have not moved all there is for them to move. */
  readonly busyTransfers: { params: undefined; result: number }
  readonly stop: { params: undefined; result: unknown }
}

export type MethodName = keyof Methods

export interface Call {
  readonly id: number
  readonly method: MethodName
  readonly params: unknown
}

export interface Progress {
  /** Operations begun and settled by this process. */
  readonly operations: number
  readonly acknowledged: number
  /** Of the strong group, while it is known. */
  readonly leader?: { readonly term: number; readonly serverId: string }
}

export type FromServer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: string }
  | { readonly progress: Progress }
