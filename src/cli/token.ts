import * as v from 'valibot'
import { MIN_SECRET_BYTES } from '../link/link-manager-options.js'
import { UsageError } from '../sync/errors.js'
import { hashString } from '../sync/hash.js'

export const MAX_TOKEN_LENGTH = 8192
/** Addresses in a token: a few doors are enough, the rest of the mesh is learned behind the first. */
export const MAX_TOKEN_ADDRESSES = 8
const PREFIX = 'silo-mesh-1'
const CHECKSUM_SEED = 0x5110

/** What one must know to enter a mesh. The mesh secret is part of it, so the whole is a secret. */
export interface Invitation {
  readonly clusterId: string
  readonly addresses: readonly string[]
  readonly secret: Uint8Array
}

const schema = v.strictObject({
  cluster_id: v.string(),
  addresses: v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(MAX_TOKEN_ADDRESSES)),
  secret: v.pipe(v.string(), v.regex(/^[\w-]+$/)),
})

/** `silo-mesh-1.<base64url of JSON>.<checksum>`: one word for shells, the version first. */
export function encodeToken({ clusterId, addresses, secret }: Invitation): string {
  const text = JSON.stringify({
    cluster_id: clusterId,
    addresses: addresses.slice(0, MAX_TOKEN_ADDRESSES),
    secret: Buffer.from(secret).toString('base64url'),
  })
  const body = Buffer.from(text).toString('base64url')
  return `${PREFIX}.${body}.${checksum(body)}`
}

/** @throws UsageError; its message never repeats the token */
export function decodeToken(text: string): Invitation {
  const [prefix, body = '', sum, ...rest] = text.trim().split('.')
  if (text.length > MAX_TOKEN_LENGTH || prefix !== PREFIX) {
    throw new UsageError(
      `that is no invite token: one begins with ${PREFIX}. and comes from \`silo-mesh invite\``,
    )
  }
  // The checksum catches a copy that lost its end; against forgery stands the secret itself.
  if (rest.length > 0 || sum !== checksum(body)) {
    throw new UsageError('the invite token is damaged, perhaps cut off while copying')
  }
  const result = v.safeParse(schema, parseBody(body))
  if (!result.success) throw new UsageError('the invite token has parts that this version does not know')
  const { cluster_id: clusterId, addresses, secret } = result.output
  const bytes = Uint8Array.from(Buffer.from(secret, 'base64url'))
  if (bytes.length < MIN_SECRET_BYTES) throw new UsageError('the invite token holds too short a secret')
  return { clusterId, addresses, secret: bytes }
}

function parseBody(body: string): unknown {
  try {
    return JSON.parse(Buffer.from(body, 'base64url').toString('utf8'))
  } catch {
    return undefined
  }
}

function checksum(body: string): string {
  return (hashString(CHECKSUM_SEED, body) >>> 0).toString(16).padStart(8, '0')
}
