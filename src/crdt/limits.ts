/** Longest canonical item key, state key or server id in a cell, in UTF-16 units. */
export const MAX_KEY_LENGTH = 1024
/** Longest storage id. */
export const MAX_NAMESPACE_LENGTH = 128
/** Longest partition name. */
export const MAX_PARTITION_LENGTH = 128
/** Longest replica id: a server id, '@' and 32 hex digits. */
export const MAX_REPLICA_LENGTH = 64 + 1 + 32
/** Most cells in one delta; the byte budget usually ends it earlier. */
export const MAX_DELTA_CELLS = 16_384
/** Most replicas that one cell may have granted rights to: such a cell still fits into one message. */
export const MAX_GRANTS = 1024
/** Most changes that one batch of own writes may consist of. */
export const MAX_BATCH_WRITES = 64
/** Most cells in one batch span: batches that share cells within one flush become one span. */
export const MAX_SPAN_CELLS = 256
/** About the most bytes in one batch span, so that a delta with one whole span in excess still is a message. */
export const MAX_SPAN_BYTES = 96 * 1024
/** About the size at which a delta is cut: a millisecond or two of decoding and merging. */
export const DELTA_BYTES = 48 * 1024
/** Largest value of one object cell (register, member), encoded. A delta with one such cell still is a message. */
export const MAX_OBJECT_BYTES = 64 * 1024
