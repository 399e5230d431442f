import SecretStream from '@hyperswarm/secret-stream'
import { InvalidArgumentError } from '../sync/errors.js'
import type { KeyPair } from './environment.js'

/** Bytes of seed that a key pair is derived from; what a node keeps on disk. */
const KEY_SEED_BYTES = 32

/**
 * The Ed25519 key pair of a seed: the same seed always gives the same pair.
 * @throws InvalidArgumentError when the seed is not `KEY_SEED_BYTES` long.
 */
export function keyPairFromSeed(seed: Uint8Array): KeyPair {
  if (seed.length !== KEY_SEED_BYTES) {
    throw new InvalidArgumentError(`a key seed has ${KEY_SEED_BYTES} bytes, not ${seed.length}`)
  }
  const { publicKey, secretKey } = SecretStream.keyPair(Buffer.from(seed))
  return { publicKey: Uint8Array.from(publicKey), secretKey: Uint8Array.from(secretKey) }
}
