import SecretStream from '@hyperswarm/secret-stream'
import type { WebSocket } from 'ws'
import { InvalidArgumentError } from '../sync/errors.js'
import { type Channel, type ChannelHandler, type KeyPair, MAX_CHANNEL_MESSAGE_BYTES } from './environment.js'
import { RecordStream } from './record-stream.js'

/** What a record adds to its message: length, secret stream header and authentication tag. */
const RECORD_OVERHEAD_BYTES = 3 + 17
/** Largest WebSocket message we take. */
export const MAX_RECORD_BYTES = MAX_CHANNEL_MESSAGE_BYTES + RECORD_OVERHEAD_BYTES
/** Noise XX messages and the stream header are below 200 bytes. */
const MAX_HANDSHAKE_RECORD_BYTES = 1024
/** `drain` comes once no more than this is left. */
const LOW_WATER_BYTES = 16 * 1024
/** How long `close` waits for what is queued and for the other side's close. */
const CLOSE_TIMEOUT_MS = 1_000

/**
 * A WebSocket with a Noise XX handshake and the secret stream above it. `established` is called once the
 * handshake is done, `failed` once when it never will be; then the channel itself is never used.
 */
export class SecureChannel implements Channel {
  private readonly raw: RecordStream
  private readonly secret: SecretStream
  private handler: ChannelHandler | undefined
  private connected = false
  private paused = false
  private closing = false
  private wantsDrain = false
  private closedReason: string | undefined
  private closedDelivered = false
  private faultReason: string | undefined
  private closeTimer: NodeJS.Timeout | undefined

  constructor(
    socket: WebSocket,
    readonly initiator: boolean,
    readonly remoteAddress: string,
    keyPair: KeyPair,
    private readonly outcome: { established(channel: SecureChannel): void; failed(reason: string): void },
  ) {
    this.raw = new RecordStream(socket, { maxRecordBytes: MAX_HANDSHAKE_RECORD_BYTES }, () => this.flushed())
    // The secret stream listens as well, but only from its start to its end; an 'error' never goes unheard.
    this.raw.on('error', (error) => this.fault(error))
    this.secret = new SecretStream(initiator, this.raw, {
      keyPair: { publicKey: Buffer.from(keyPair.publicKey), secretKey: Buffer.from(keyPair.secretKey) },
    })
    this.secret.on('error', (error) => this.fault(error))
    this.secret.on('connect', () => this.onConnect())
    this.secret.on('end', () => this.onEnd())
    this.secret.on('close', () => this.finish())
  }

  get remotePublicKey(): Uint8Array {
    return this.secret.remotePublicKey!
  }

  get handshakeHash(): Uint8Array {
    return this.secret.handshakeHash!
  }

  get bufferedBytes(): number {
    return this.closedReason === undefined ? this.secret._writableState.buffered + this.raw.unsentBytes : 0
  }

  setHandler(handler: ChannelHandler): void {
    this.handler = handler
    this.secret.on('data', (message) => {
      if (!this.closing && this.closedReason === undefined) handler.message(message)
    })
    if (this.paused) this.secret.pause()
    if (this.closedReason !== undefined) queueMicrotask(() => this.deliverClosed())
  }

  /** The array belongs to the channel from here on: it is encrypted later and must not be written to. */
  send(message: Uint8Array): void {
    if (message.length === 0 || message.length > MAX_CHANNEL_MESSAGE_BYTES) {
      throw new InvalidArgumentError(
        `a channel message has 1 to ${MAX_CHANNEL_MESSAGE_BYTES} bytes, not ${message.length}`,
      )
    }
    if (this.closing || this.closedReason !== undefined) return
    this.secret.write(message)
    if (this.bufferedBytes > LOW_WATER_BYTES) this.wantsDrain = true
  }

  pause(): void {
    this.paused = true
    if (this.handler !== undefined && !this.closing) this.secret.pause()
  }

  resume(): void {
    this.paused = false
    if (this.handler !== undefined) this.secret.resume()
  }

  close(reason: string): void {
    if (this.closing || this.closedReason !== undefined) return
    this.closing = true
    this.faultReason ??= reason
    this.secret.end()
    // What still comes is read and dropped, or the other side's close frame would never be reached.
    if (this.handler === undefined) this.secret.on('data', () => undefined)
    this.secret.resume()
    this.closeTimer = setTimeout(() => this.secret.destroy(), CLOSE_TIMEOUT_MS)
    this.closeTimer.unref()
  }

  /** At once, without sending what is queued. */
  destroy(reason: string): void {
    this.faultReason ??= reason
    this.secret.destroy()
    this.raw.destroy()
  }

  private onConnect(): void {
    this.connected = true
    this.raw.maxRecordBytes = MAX_RECORD_BYTES
    this.outcome.established(this)
  }

  private onEnd(): void {
    this.faultReason ??= 'closed by the other side'
    this.secret.destroy()
  }

  private fault(error: Error): void {
    this.faultReason ??= error.message
  }

  private flushed(): void {
    if (!this.wantsDrain || this.closing || this.bufferedBytes > LOW_WATER_BYTES) return
    this.wantsDrain = false
    this.handler?.drain()
  }

  private finish(): void {
    if (this.closedReason !== undefined) return
    clearTimeout(this.closeTimer)
    this.raw.destroy()
    this.closedReason = this.faultReason ?? 'connection lost'
    if (!this.connected) this.outcome.failed(this.closedReason)
    else this.deliverClosed()
  }

  private deliverClosed(): void {
    if (this.handler === undefined || this.closedDelivered) return
    this.closedDelivered = true
    this.handler.closed(this.closedReason!)
  }
}
