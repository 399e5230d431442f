import { EventEmitter } from 'node:events'
import type { RawData, WebSocket } from 'ws'

/** Bytes given to the socket and not yet taken by the kernel, above which we stop giving it more. */
const MAX_IN_FLIGHT_BYTES = 256 * 1024
const RECORD_HEADER_BYTES = 3
const SEND_OPTIONS = { binary: true, compress: false }

/**
 * A WebSocket as the raw stream under a secret stream: each record of the secret stream (24-bit length, then
 * that many bytes) is one binary WebSocket message.
 *
 * `createWebSocketStream` of ws would do the same copying, but it writes one message per round trip to the
 * kernel, cannot say how much is still on its way, and lets a stranger announce a record of 16 MiB which the
 * secret stream then allocates. Here a record must match its message, so ws's `maxPayload` bounds it.
 *
 * It is what the secret stream asks of its raw stream and no more, without the buffers of a `Duplex`: the secret
 * stream above and the socket below have their own, and at a server at rest each layer costs its cold code.
 * Events: `data`, `drain`, `end` once the socket has closed, and after `destroy` `error` (when given one) and
 * `close`.
 */
export class RecordStream extends EventEmitter {
  /** Largest record taken; small until the handshake is done, since before it anybody may speak. */
  maxRecordBytes: number
  private inFlightBytes = 0
  private wantsDrain = false
  private destroyed = false

  constructor(
    private readonly socket: WebSocket,
    options: { maxRecordBytes: number },
    private readonly onFlushed: () => void,
  ) {
    super()
    this.maxRecordBytes = options.maxRecordBytes
    socket.on('message', (data, isBinary) => this.receive(data, isBinary))
    socket.on('error', (error) => this.destroy(error))
    socket.on('close', () => {
      if (!this.destroyed) this.emit('end')
    })
  }

  /** Bytes written to this stream that the kernel has not taken yet. */
  get unsentBytes(): number {
    return this.inFlightBytes
  }

  /** False: wait for `drain` before the next one. */
  write(record: Buffer): boolean {
    if (this.destroyed) return false
    this.inFlightBytes += record.length
    this.socket.send(record, SEND_OPTIONS, (error) => this.flushed(record.length, error))
    this.wantsDrain = this.inFlightBytes >= MAX_IN_FLIGHT_BYTES
    return !this.wantsDrain
  }

  /** A close frame is queued behind what was sent, so the peer reads everything first. */
  end(): void {
    this.socket.close(1000)
  }

  pause(): void {
    if (!this.socket.isPaused) this.socket.pause()
  }

  resume(): void {
    if (this.socket.isPaused) this.socket.resume()
  }

  destroy(error?: Error | null): void {
    if (this.destroyed) return
    this.destroyed = true
    this.socket.terminate()
    process.nextTick(() => {
      if (error) this.emit('error', error)
      this.emit('close')
    })
  }

  private receive(data: RawData, isBinary: boolean): void {
    if (this.destroyed) return
    const fault = isBinary && Buffer.isBuffer(data) ? this.recordFault(data) : 'text message'
    if (fault !== undefined) this.destroy(new Error(`not a record of the secure channel: ${fault}`))
    // Nobody who waits for the upgrade can be so early that the secret stream does not listen yet.
    else if (!this.emit('data', data)) this.destroy(new Error('a record before the WebSocket was open'))
  }

  private recordFault(record: Buffer): string | undefined {
    if (record.length > this.maxRecordBytes) return `${record.length} bytes`
    if (record.length < RECORD_HEADER_BYTES) return 'too short'
    return record.readUIntLE(0, RECORD_HEADER_BYTES) === record.length - RECORD_HEADER_BYTES
      ? undefined
      : 'its length is not that of the message'
  }

  private flushed(bytes: number, error: Error | null | undefined): void {
    this.inFlightBytes -= bytes
    if (this.destroyed) return
    if (error) {
      this.destroy(error)
      return
    }
    if (this.wantsDrain && this.inFlightBytes < MAX_IN_FLIGHT_BYTES) {
      this.wantsDrain = false
      this.emit('drain')
    }
    this.onFlushed()
  }
}
