import { EventEmitter } from 'node:events'
import type { RefusalReason, SiloMeshError } from '../sync/errors.js'
import type { SyncEvent } from '../sync/event.js'
import type { Logger } from '../sync/logger.js'
import type { WithdrawalCase } from './withdrawal.js'

/** What a node tells its embedding server, beside return values. */
export interface NodeEvents {
  /** A server has become part of what is alive (SERVER_JOIN), or is gone (SERVER_LEAVE). */
  serverJoin: [{ serverId: string }]
  serverLeave: [{ serverId: string; reason: 'left' | 'dead' }]
  linkUp: [{ serverId: string; address: string }]
  linkDown: [{ serverId: string; reason: string }]
  /** A link was refused, by this side or the other. */
  linkRefused: [{ peer: string; reason: RefusalReason; detail: string; by: 'local' | 'remote' }]
  /** A published event, from here or elsewhere; each once per run of this node. */
  event: [SyncEvent]
  /** This server had forgotten writes of its own that others know (a restored backup); it writes anew. */
  incarnation: [{ replica: string; before: string }]
  /**
   * A withdrawal of this server was taken back: take the items from the player. Told again to whoever begins to
   * listen, at the next start too, until `acknowledgeCompensation` is called.
   */
  compensated: [WithdrawalCase]
  /** A withdrawal of this server lost a conflict and waits for `resolveConflict`. */
  conflict: [WithdrawalCase]
  /** A provisional withdrawal of this server has ended, one way or the other. */
  settled: [WithdrawalCase]
  /** The strong group has another leader as seen from here, or none. */
  leader: [{ serverId: string | undefined }]
  /** Writes are refused while the status is not 'ok'. */
  journal: [{ status: 'ok' | 'full' | 'failed'; error: SiloMeshError | undefined }]
  /** Servers with equal vectors had unequal state: a defect, being repaired. */
  mismatch: [{ serverId: string; partition: string; replica: string }]
  stopped: []
}

/** Listeners that throw are logged and hold nobody back. */
export class NodeEmitter {
  private readonly emitter = new EventEmitter()

  constructor(private readonly logger: Logger) {
    this.emitter.setMaxListeners(0)
  }

  on<Name extends keyof NodeEvents>(name: Name, listener: (...args: NodeEvents[Name]) => void): void {
    this.emitter.on(name, listener as (...args: unknown[]) => void)
  }

  off<Name extends keyof NodeEvents>(name: Name, listener: (...args: NodeEvents[Name]) => void): void {
    this.emitter.off(name, listener as (...args: unknown[]) => void)
  }

  emit<Name extends keyof NodeEvents>(name: Name, ...args: NodeEvents[Name]): void {
    for (const listener of this.emitter.listeners(name)) {
      try {
        listener(...args)
      } catch (error) {
        this.logger.error({ event: name, error }, 'a listener threw')
      }
    }
  }
}
