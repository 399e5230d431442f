import type { FrameError } from '../sync/errors.js'
import type { ReplicaId } from '../sync/identity.js'
import type { WireTuple } from '../wire/wire-value.js'

/** What the other side said in its hello, proven to come from a holder of the mesh secret. */
export interface RemoteFacts {
  readonly serverId: string
  readonly clusterId: string
  /** Its replica when the link opened. A replica can change while a link lives; later news comes by gossip. */
  readonly replicaId: ReplicaId
  /** Random per start of the process, hex: tells a restarted server from a second one of the same name. */
  readonly instanceId: string
  /** Names it listed, bounded; those not known here are kept and mean nothing. */
  readonly features: ReadonlySet<string>
  /** `ws://host:port` where others may dial it; '' when it only dials. */
  readonly listenAddress: string
  /** 32 bytes, proven in the channel's handshake. */
  readonly publicKey: Uint8Array
  /** The highest protocol version that both sides speak. */
  readonly protocolVersion: number
  /** Address of the socket's other end, for people and logs. */
  readonly remoteAddress: string
}

/** One message as it came: decoded only when somebody asks, and its bytes can be stored unchanged. */
export interface InboundMessage {
  /** First element of the tuple. */
  readonly type: number
  /** The encoded tuple. A view into the frame: copy it to keep it for long. */
  readonly bytes: Uint8Array
  /** The whole tuple, type included. @throws FrameError when malformed: let it through, the link closes. */
  decode(): WireTuple
}

/** What the owner of a link does with what arrives. Called on the node's own turn, in slices. */
export interface LinkHandler {
  /**
   * Returns false for a type it does not know (counted, ignored). A FrameError thrown here closes the link;
   * any other error closes the link and goes on up, since it is a defect of this program.
   */
  message(message: InboundMessage): boolean
  /** The bulk queue has room again after `sendBulk` returned false. */
  bulkDrained(): void
}

/** Counted since the link opened. Bytes are those on the channel, after compression. */
export interface LinkCounters {
  bytesIn: number
  bytesOut: number
  framesIn: number
  framesOut: number
  messagesIn: number
  messagesOut: number
  unknownMessagesIn: number
  /** Times that the channel was paused because the peer sent faster than it may or than we could take. */
  pauses: number
}

/** An open link. Messages of one queue arrive in the order sent; control overtakes bulk. */
export interface Link {
  readonly remote: RemoteFacts
  /** True when this side dialled. */
  readonly initiator: boolean
  readonly counters: Readonly<LinkCounters>
  /** Bytes accepted by `sendBulk` that the channel has not taken yet. */
  readonly bulkBufferedBytes: number
  readonly closed: boolean
  /** Monotonic milliseconds when the last bytes arrived. */
  readonly lastHeardMs: number
  /**
   * Queues an encoded message ahead of all bulk. Leaves within this turn when the channel has room. A peer
   * that does not take them until `MAX_CONTROL_QUEUE_BYTES` are waiting loses the link. No effect when closed.
   * @throws InvalidArgumentError above `MAX_MESSAGE_BYTES`.
   */
  sendControl(message: Uint8Array): void
  /**
   * Queues an encoded message behind other bulk. False: NOT queued because `MAX_BULK_QUEUE_BYTES` are waiting
   * (or the link is closed); `bulkDrained` tells when to try again. @throws like sendControl.
   */
  sendBulk(message: Uint8Array): boolean
  /** Asks the peer for a sign of life: resolves true when it answers in time. Never rejects. */
  probe(timeoutMs: number): Promise<boolean>
  /** Tells the peer the reason, sends what is queued if it can within a moment, and closes. Idempotent. */
  close(reason: string): void
}

/** Why a link is no longer there, for `linkDown` and logs. */
export interface LinkDownReason {
  readonly reason: string
  /** Which side closed; 'transport' when the channel broke. */
  readonly by: 'local' | 'remote' | 'transport'
  /** Present when the peer broke the protocol. */
  readonly error?: FrameError
}

/** A frame's queue caps; what they mean is said at `Link`. */
export const MAX_CONTROL_QUEUE_BYTES = 4 * 1024 * 1024
export const MAX_CONTROL_QUEUE_MESSAGES = 32_768
export const MAX_BULK_QUEUE_BYTES = 1024 * 1024
