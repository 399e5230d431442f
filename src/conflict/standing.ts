import type { ReplicaId } from '../sync/identity.js'

/** What settling needs to know of servers beside the cells. Asked each time; a tick later a change has its effect. */
export interface Standing {
  /**
   * No write of this replica can be missing here. A server that has just been restarted may have been put back to
   * an older state: what it takes for rights may have been spent, what it takes for open may be settled.
   */
  isCertain(): boolean
  /** Whatever former incarnations of this server wrote, and any server knows of, is here. */
  knowsFormer(): boolean
  /** Its server writes as another replica now: rights that it still has are out of reach. */
  isSuperseded(replica: ReplicaId): boolean
}

/** Nothing was ever lost and nobody ever came back as another one. */
export const UNDISPUTED: Standing = {
  isCertain: () => true,
  knowsFormer: () => true,
  isSuperseded: () => false,
}
