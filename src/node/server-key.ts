import type { Disk, Environment, KeyPair } from '../environment/environment.js'
import { readTextFile, writeTextFile } from '../environment/text-file.js'
import { ConfigError } from '../sync/errors.js'

const SEED_BYTES = 32
const MAX_SECRET_FILE_BYTES = 4096

/**
 * The key pair that makes this server this server: kept as 64 hex digits in `server.key` beside the journal,
 * made at the first start. Without a data directory it is new at every start.
 */
export async function loadServerKey(environment: Environment, dataDir: string | undefined): Promise<KeyPair> {
  const { disk, network, random } = environment
  if (dataDir === undefined) return network.keyPair(random.bytes(SEED_BYTES))
  const path = `${dataDir}/server.key`
  const known = (await readTextFile(disk, path, MAX_SECRET_FILE_BYTES))?.trim()
  if (known !== undefined) {
    if (!/^[0-9a-f]{64}$/.test(known))
      throw new ConfigError(`${path} does not hold a server key (64 hex digits)`)
    return network.keyPair(Uint8Array.from(Buffer.from(known, 'hex')))
  }
  const seed = random.bytes(SEED_BYTES)
  await writeTextFile(disk, dataDir, 'server.key', `${Buffer.from(seed).toString('hex')}\n`)
  return network.keyPair(seed)
}

/** The mesh secret in a file: hex or base64url text. @throws ConfigError */
export async function readSecretFile(disk: Disk, path: string, minBytes: number): Promise<Uint8Array> {
  const text = (await readTextFile(disk, path, MAX_SECRET_FILE_BYTES))?.trim()
  if (text === undefined) throw new ConfigError(`secret file ${path} does not exist`)
  const encoding = /^([0-9a-f]{2})+$/i.test(text) ? 'hex' : /^[\w-]+$/.test(text) ? 'base64url' : undefined
  const secret = encoding ? Uint8Array.from(Buffer.from(text, encoding)) : new Uint8Array()
  if (secret.length < minBytes) {
    throw new ConfigError(`secret file ${path} must hold at least ${minBytes} bytes as hex or base64url`)
  }
  return secret
}
