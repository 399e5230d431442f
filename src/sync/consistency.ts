/**
 * How far a write must have got, or how fresh a read must be (docs/consistency.md has the table).
 * LOCAL: durable here, as the node's `durability` says. EVENTUAL: the same; it spreads by itself.
 * QUORUM: durable on a majority of the known servers. STRONG: durable on all known servers.
 */
export type ConsistencyLevel = 'LOCAL' | 'EVENTUAL' | 'QUORUM' | 'STRONG'

export const CONSISTENCY_LEVELS: readonly ConsistencyLevel[] = ['LOCAL', 'EVENTUAL', 'QUORUM', 'STRONG']

/** Of a read. EVENTUAL would be LOCAL. */
export type ReadLevel = Exclude<ConsistencyLevel, 'EVENTUAL'>

export const READ_LEVELS: readonly ReadLevel[] = ['LOCAL', 'QUORUM', 'STRONG']
