/**
 * Who a server is. `serverId` is its lasting name within a cluster; a *replica* is one writer: the server
 * and one incarnation of it. A server that has lost writes it had told others about, or that keeps nothing
 * on disk, comes back as a new replica under the same name.
 */
export interface ServerIdentity {
  readonly serverId: string
  readonly clusterId: string
  /** Where others reach it; empty when it only dials. */
  readonly hostname: string
  /** 0 when it only dials. */
  readonly port: number
}

/** `serverId@incarnation`; the incarnation is a UUIDv7 in hex, so later ones sort later. */
export type ReplicaId = string

export const MAX_SERVER_ID_LENGTH = 64

export function replicaId(serverId: string, incarnation: string): ReplicaId {
  return `${serverId}@${incarnation}`
}

const REPLICA_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]*@[0-9A-Za-z]+$/

/** Whether the text is shaped like a replica id: a server's name, '@', an incarnation. */
export function isReplicaId(text: string): boolean {
  return REPLICA_ID.test(text)
}

export function serverOfReplica(replica: ReplicaId): string {
  return replica.slice(0, replica.lastIndexOf('@'))
}

export function incarnationOfReplica(replica: ReplicaId): string {
  return replica.slice(replica.lastIndexOf('@') + 1)
}
