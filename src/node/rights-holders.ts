import { type ReplicaId, serverOfReplica } from '../sync/identity.js'

/** The other servers that hold rights to an item, largest first, as an InsufficientRightsError tells them. */
export function rightsHolders(
  rights: ReadonlyMap<ReplicaId, number | bigint>,
  self: ReplicaId,
): (readonly [serverId: string, rights: bigint])[] {
  const byServer = new Map<string, bigint>()
  for (const [replica, amount] of rights) {
    const server = serverOfReplica(replica)
    if (amount > 0 && server !== serverOfReplica(self))
      byServer.set(server, (byServer.get(server) ?? 0n) + BigInt(amount))
  }
  return [...byServer].sort(([one, few], [other, many]) =>
    few === many ? (one < other ? -1 : 1) : few > many ? -1 : 1,
  )
}
