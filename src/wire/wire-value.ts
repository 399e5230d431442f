/**
 * What may travel on a link or lie in a journal: a CBOR (RFC 8949) subset small enough to check completely.
 * No maps, no tags, no bigint, no undefined. Numbers are safe integers or finite or non-finite doubles;
 * larger integers go as byte strings (`bigintToWire` in expect.ts).
 */
export type WireValue = number | string | boolean | null | Uint8Array | readonly WireValue[]

/** A message: an array whose first element is the message type, 0 to `MAX_MESSAGE_TYPE`. */
export type WireTuple = readonly WireValue[]

/** Types fit two bytes of CBOR, so that a frame reader finds them without decoding the message. */
export const MAX_MESSAGE_TYPE = 255

/** Types below this one are the link's own (ping, pong, bye); every other protocol starts here. */
export const FIRST_PROTOCOL_MESSAGE_TYPE = 8

/** Largest encoded message; what is larger must be cut by its protocol. Less than a frame's body cap. */
export const MAX_MESSAGE_BYTES = 256 * 1024

/** Deepest nesting of arrays that a message may have; our own protocols need five. */
export const MAX_DEPTH = 16

/** Most values (array headers included) in one message: as many as one-byte values would fill it. */
export const MAX_ITEMS = 256 * 1024
