import { createHmac, timingSafeEqual } from 'node:crypto'

/** What both sides of one handshake know and nobody outside it can repeat. */
export interface HandshakeBinding {
  readonly handshakeHash: Uint8Array
  readonly initiatorPublicKey: Uint8Array
  readonly acceptorPublicKey: Uint8Array
}

export type Role = 'initiator' | 'acceptor'

export const PROOF_BYTES = 32
const LABEL = 'silo-mesh hello proof 1'

/**
 * Proof that the sender of a hello holds the mesh secret: HMAC-SHA256 (RFC 2104) over the hello, the role
 * of its sender and the handshake. The binding makes a proof worthless on any other connection; the role
 * keeps a proof from being sent back as its receiver's own.
 */
export function helloProof(
  secret: Uint8Array,
  role: Role,
  binding: HandshakeBinding,
  hello: Uint8Array,
): Uint8Array {
  const hmac = createHmac('sha256', secret)
  const parts = [
    Buffer.from(LABEL),
    Buffer.from(role),
    binding.handshakeHash,
    binding.initiatorPublicKey,
    binding.acceptorPublicKey,
    hello,
  ]
  for (const part of parts) {
    // Each part with its length, so that no two different lists of parts hash the same bytes.
    const length = Buffer.alloc(4)
    length.writeUInt32BE(part.length)
    hmac.update(length).update(part)
  }
  return Uint8Array.from(hmac.digest())
}

/** Compares in constant time. */
export function proofMatches(expected: Uint8Array, given: Uint8Array): boolean {
  return expected.length === given.length && timingSafeEqual(expected, given)
}
