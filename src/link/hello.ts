import { FrameError, type RefusalReason } from '../sync/errors.js'
import { MAX_SERVER_ID_LENGTH, type ReplicaId, serverOfReplica } from '../sync/identity.js'
import { encodeMessage } from '../wire/encode.js'
import {
  expectArray,
  expectBytes,
  expectBytesOf,
  expectString,
  expectTuple,
  expectUint,
} from '../wire/expect.js'
import { decodeTuple } from '../wire/safe-cbor.js'
import { PROOF_BYTES } from './proof.js'

/** What a server says of itself when a channel opens. */
export interface Hello {
  readonly minVersion: number
  readonly maxVersion: number
  readonly clusterId: string
  readonly serverId: string
  readonly replicaId: ReplicaId
  /** 32 hex digits. */
  readonly instanceId: string
  readonly features: readonly string[]
  readonly listenAddress: string
}

/** Why a link shall not be; `detail` is for people. */
export interface Refusal {
  readonly reason: RefusalReason
  readonly detail: string
}

/** The messages of the hello exchange. Not frames: these come before any. */
export type HelloMessage =
  | { readonly kind: 'hello'; readonly hello: Uint8Array; readonly proof: Uint8Array }
  | { readonly kind: 'ready' }
  /** `serverId`: who refuses; '' unless the other has proven that it belongs to the mesh. */
  | ({ readonly kind: 'refusal'; readonly serverId: string } & Refusal)

/** Protocol versions that this program speaks. */
export const MIN_PROTOCOL_VERSION = 1
export const MAX_PROTOCOL_VERSION = 1

const MAX_HELLO_MESSAGE_BYTES = 4096
const MAX_FEATURES = 32
const MAX_FEATURE_LENGTH = 64
export const MAX_ADDRESS_LENGTH = 256
export const INSTANCE_ID_BYTES = 16
const MAX_REPLICA_ID_LENGTH = MAX_SERVER_ID_LENGTH + 65
const MAX_CLUSTER_ID_LENGTH = 64
const MAX_DETAIL_LENGTH = 200
const MAGIC = 'silo-mesh'
const KIND_HELLO = 0
const KIND_READY = 1
const KIND_REFUSAL = 2

const REFUSAL_REASONS: ReadonlySet<string> = new Set<RefusalReason>([
  'wrong-secret',
  'wrong-cluster',
  'name-in-use',
  'self',
  'unsupported-version',
  'duplicate-link',
  'too-many-links',
  'malformed-hello',
  'hello-timeout',
  'stopping',
  'cut',
])

/** The bytes that the proof is over. Magic and versions come first in every version there will ever be. */
export function encodeHello(hello: Hello): Uint8Array {
  return encodeMessage([
    MAGIC,
    hello.minVersion,
    hello.maxVersion,
    hello.clusterId,
    hello.serverId,
    hello.replicaId,
    Uint8Array.from(Buffer.from(hello.instanceId, 'hex')),
    [...hello.features],
    hello.listenAddress,
  ])
}

/** Only what every version of a hello has: enough to tell whether the rest can be understood. */
export function decodeHelloVersions(bytes: Uint8Array): { minVersion: number; maxVersion: number } {
  const [magic, min, max] = expectTuple(decodeTuple(bytes), 3, 'hello')
  if (magic !== MAGIC) throw new FrameError('hello without the magic word')
  const minVersion = expectUint(min, 'minVersion', 0xffff)
  const maxVersion = expectUint(max, 'maxVersion', 0xffff)
  if (minVersion > maxVersion) throw new FrameError('hello with an empty range of versions')
  return { minVersion, maxVersion }
}

/** Highest version that both speak; undefined when there is none. */
export function commonVersion(
  mine: { minVersion: number; maxVersion: number },
  theirs: { minVersion: number; maxVersion: number },
): number | undefined {
  const highest = Math.min(mine.maxVersion, theirs.maxVersion)
  return highest >= mine.minVersion && highest >= theirs.minVersion ? highest : undefined
}

/** Fields beyond the known ones come from a newer version and are ignored. @throws FrameError */
export function decodeHello(bytes: Uint8Array): Hello {
  const fields = expectTuple(decodeTuple(bytes), 9, 'hello')
  const hello: Hello = {
    ...decodeHelloVersions(bytes),
    clusterId: expectName(fields[3], MAX_CLUSTER_ID_LENGTH, 'clusterId'),
    serverId: expectName(fields[4], MAX_SERVER_ID_LENGTH, 'serverId'),
    replicaId: expectName(fields[5], MAX_REPLICA_ID_LENGTH, 'replicaId'),
    instanceId: Buffer.from(expectBytesOf(fields[6], INSTANCE_ID_BYTES, 'instanceId')).toString('hex'),
    features: expectArray(fields[7], MAX_FEATURES, 'features').map((feature) =>
      expectName(feature, MAX_FEATURE_LENGTH, 'feature'),
    ),
    listenAddress: expectString(fields[8], MAX_ADDRESS_LENGTH, 'listenAddress'),
  }
  if (serverOfReplica(hello.replicaId) !== hello.serverId) throw new FrameError('replicaId of another server')
  if (hello.listenAddress !== '' && !/^ws:\/\/[\x21-\x7e]+$/.test(hello.listenAddress)) {
    throw new FrameError('listenAddress is not a ws:// address')
  }
  return hello
}

export function encodeHelloMessage(message: HelloMessage): Uint8Array {
  switch (message.kind) {
    case 'hello':
      return encodeMessage([KIND_HELLO, message.hello, message.proof])
    case 'ready':
      return encodeMessage([KIND_READY])
    case 'refusal':
      return encodeMessage([
        KIND_REFUSAL,
        message.reason,
        printable(message.detail.slice(0, MAX_DETAIL_LENGTH)),
        message.serverId,
      ])
  }
}

/** @throws FrameError */
export function decodeHelloMessage(bytes: Uint8Array): HelloMessage {
  if (bytes.length > MAX_HELLO_MESSAGE_BYTES) throw new FrameError(`hello message of ${bytes.length} bytes`)
  const fields = decodeTuple(bytes)
  switch (fields[0]) {
    case KIND_HELLO:
      return {
        kind: 'hello',
        hello: expectBytes(fields[1], MAX_HELLO_MESSAGE_BYTES, 'hello'),
        proof: expectBytesOf(fields[2], PROOF_BYTES, 'proof'),
      }
    case KIND_READY:
      return { kind: 'ready' }
    case KIND_REFUSAL: {
      const reason = expectString(fields[1], 32, 'reason')
      if (!REFUSAL_REASONS.has(reason)) throw new FrameError('unknown reason of a refusal')
      return {
        kind: 'refusal',
        reason: reason as RefusalReason,
        detail: printable(expectString(fields[2], MAX_DETAIL_LENGTH, 'detail')),
        serverId: printable(expectString(fields[3], MAX_SERVER_ID_LENGTH, 'serverId')),
      }
    }
    default:
      throw new FrameError('not a message of the hello exchange')
  }
}

/** Text that may end up in a log or a terminal: not empty, no control characters. */
function expectName(value: Parameters<typeof expectString>[0], maxLength: number, field: string): string {
  const name = expectString(value, maxLength, field)
  if (name === '' || printable(name) !== name) throw new FrameError(`${field}: empty or not printable`)
  return name
}

/** A peer's words are shown to operators; control and direction characters could draw on their terminals. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}\u202a-\u202e\u2066-\u2069]/gu, '?')
}
