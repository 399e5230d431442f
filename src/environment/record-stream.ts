import { Duplex } from 'node:stream'
import type { RawData, WebSocket } from 'ws'

/** Bytes given to the socket and not yet taken by the kernel, above which we stop giving it more. */
const MAX_IN_FLIGHT_BYTES = 256 * 1024
const RECORD_HEADER_BYTES = 3

/**
 * A WebSocket as the raw stream under a secret stream: each record of the secret stream (24-bit length, then
 * that many bytes) is one binary WebSocket message.
 *
 * `createWebSocketStream` of ws would do the same copying, but it writes one message per round trip to the
 * kernel, cannot say how much is still on its way, and lets a stranger announce a record of 16 MiB which the
 * secret stream then allocates. Here a record must match its message, so ws's `maxPayload` bounds it.
 */
export class RecordStream extends Duplex {
  /** Largest record taken; small until the handshake is done, since before it anybody may speak. */
  maxRecordBytes: number
  private inFlightBytes = 0
  private waitingWrite: (() => void) | undefined

  constructor(
    private readonly socket: WebSocket,
    options: { maxRecordBytes: number },
    private readonly onFlushed: () => void,
  ) {
    super({ writableHighWaterMark: 64 * 1024, readableHighWaterMark: 64 * 1024 })
    this.maxRecordBytes = options.maxRecordBytes
    socket.on('message', (data, isBinary) => this.receive(data, isBinary))
    socket.on('error', (error) => this.destroy(error))
    socket.on('close', () => this.push(null))
  }

  /** Bytes written to this stream that the kernel has not taken yet. */
  get unsentBytes(): number {
    return this.inFlightBytes + this.writableLength
  }

  private receive(data: RawData, isBinary: boolean): void {
    if (this.destroyed) return
    const fault = isBinary && Buffer.isBuffer(data) ? this.recordFault(data) : 'text message'
    if (fault !== undefined) {
      this.destroy(new Error(`not a record of the secure channel: ${fault}`))
      return
    }
    if (!this.push(data)) this.socket.pause()
  }

  private recordFault(record: Buffer): string | undefined {
    if (record.length > this.maxRecordBytes) return `${record.length} bytes`
    if (record.length < RECORD_HEADER_BYTES) return 'too short'
    return record.readUIntLE(0, RECORD_HEADER_BYTES) === record.length - RECORD_HEADER_BYTES
      ? undefined
      : 'its length is not that of the message'
  }

  override _read(): void {
    if (this.socket.isPaused) this.socket.resume()
  }

  override _write(record: Buffer, _encoding: BufferEncoding, taken: (error?: Error | null) => void): void {
    const send = () => {
      this.inFlightBytes += record.length
      this.socket.send(record, { binary: true, compress: false }, (error) =>
        this.flushed(record.length, error),
      )
      taken()
    }
    if (this.inFlightBytes < MAX_IN_FLIGHT_BYTES) send()
    else this.waitingWrite = send
  }

  private flushed(bytes: number, error: Error | null | undefined): void {
    this.inFlightBytes -= bytes
    if (this.destroyed) return
    if (error) {
      this.destroy(error)
      return
    }
    const waiting = this.waitingWrite
    if (waiting !== undefined && this.inFlightBytes < MAX_IN_FLIGHT_BYTES) {
      this.waitingWrite = undefined
      waiting()
    }
    this.onFlushed()
  }

  override _final(done: (error?: Error | null) => void): void {
    // A close frame is queued behind what was sent, so the peer reads everything first.
    this.socket.close(1000)
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.socket.terminate()
    done(error)
  }
}
