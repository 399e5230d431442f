import type { Channel, Compressor } from '../environment/environment.js'
import { InvalidArgumentError } from '../sync/errors.js'
import { MAX_MESSAGE_BYTES } from '../wire/wire-value.js'
import { COMPRESS_ABOVE_BYTES, compressedFrame, encodeFrame, MAX_MESSAGES_PER_FRAME } from './frame.js'
import {
  type LinkCounters,
  MAX_BULK_QUEUE_BYTES,
  MAX_CONTROL_QUEUE_BYTES,
  MAX_CONTROL_QUEUE_MESSAGES,
} from './link.js'
import { MessageQueue } from './message-queue.js'

/** Messages are gathered into frames of about this size; control never waits behind more than a few of them. */
const FRAME_TARGET_BYTES = 64 * 1024
/** Bulk goes to the channel while it has less than this on its way: about 2 ms of a fast link. */
const BULK_WINDOW_BYTES = 256 * 1024
/** Control may go on above it for as long again. */
const CONTROL_WINDOW_BYTES = 1024 * 1024
/** Bulk frames made ahead, so that the thread pool compresses one while another is sent. */
const MAX_FRAMES_AHEAD = 2
/** `bulkDrained` comes once the bulk queue is down to this. */
const BULK_RESUME_BYTES = MAX_BULK_QUEUE_BYTES / 2

interface BulkFrame {
  /** Uncompressed frame, kept until it is sent so that closing never has to wait for a thread. */
  readonly plain: Uint8Array
  readonly messages: number
  /** What their queue counted for them. */
  readonly queuedBytes: number
  /** What goes out; undefined while it is being compressed. */
  ready: Uint8Array | undefined
}

/**
 * The sending half of a link: two bounded queues, gathered into frames at the end of the current job, so a
 * lone message leaves at once and a burst leaves together. Control goes first and is never compressed; bulk
 * keeps its order whatever the thread pool does.
 */
export class Outbound {
  private readonly control = new MessageQueue()
  private readonly bulk = new MessageQueue()
  private framesAhead: BulkFrame[] = []
  private aheadBytes = 0
  private flushQueued = false
  private bulkRefused = false
  private closed = false

  constructor(
    private readonly channel: Channel,
    /** Undefined: this link does not compress. */
    private readonly compressor: Compressor | undefined,
    private readonly counters: LinkCounters,
    private readonly events: { bulkDrained(): void; controlOverflow(): void },
  ) {}

  get bulkBufferedBytes(): number {
    return this.bulk.bytes + this.aheadBytes
  }

  sendControl(message: Uint8Array): void {
    requireSize(message)
    if (this.closed) return
    this.control.push(message)
    const full =
      this.control.bytes > MAX_CONTROL_QUEUE_BYTES || this.control.length > MAX_CONTROL_QUEUE_MESSAGES
    if (full) this.events.controlOverflow()
    else this.queueFlush()
  }

  sendBulk(message: Uint8Array): boolean {
    requireSize(message)
    if (this.closed) return false
    if (this.bulkBufferedBytes + message.length > MAX_BULK_QUEUE_BYTES) {
      this.bulkRefused = true
      return false
    }
    this.bulk.push(message)
    this.queueFlush()
    return true
  }

  /** The channel has room again. */
  flush(): void {
    if (this.closed) return
    this.flushControl()
    this.flushBulk()
    if (this.bulkRefused && this.bulkBufferedBytes <= BULK_RESUME_BYTES) {
      this.bulkRefused = false
      this.events.bulkDrained()
    }
  }

  /** Hands everything to the channel, whatever its window, with `last` at the end, and takes nothing more. */
  finish(last: Uint8Array): void {
    if (this.closed) return
    while (this.control.length > 0) this.sendControlFrame()
    for (const frame of this.framesAhead) this.sendFrame(frame.plain, frame.messages)
    while (this.bulk.length > 0) {
      const messages = this.bulk.take(FRAME_TARGET_BYTES, MAX_MESSAGES_PER_FRAME)
      this.sendFrame(encodeFrame(messages), messages.length)
    }
    this.sendFrame(encodeFrame([last]), 1)
    this.discard()
  }

  /** Drops what is queued; the channel is gone. */
  discard(): void {
    this.closed = true
    this.control.clear()
    this.bulk.clear()
    this.framesAhead = []
    this.aheadBytes = 0
  }

  private queueFlush(): void {
    if (this.flushQueued) return
    this.flushQueued = true
    queueMicrotask(() => {
      this.flushQueued = false
      this.flush()
    })
  }

  private flushControl(): void {
    while (this.control.length > 0 && this.channel.bufferedBytes < CONTROL_WINDOW_BYTES)
      this.sendControlFrame()
  }

  private sendControlFrame(): void {
    const messages = this.control.take(FRAME_TARGET_BYTES, MAX_MESSAGES_PER_FRAME)
    this.sendFrame(encodeFrame(messages), messages.length)
  }

  private flushBulk(): void {
    while (true) {
      while (this.framesAhead.length < MAX_FRAMES_AHEAD && this.bulk.length > 0) this.prepareBulkFrame()
      const next = this.framesAhead[0]
      if (next?.ready === undefined || this.channel.bufferedBytes >= BULK_WINDOW_BYTES) return
      this.framesAhead.shift()
      this.aheadBytes -= next.queuedBytes
      this.sendFrame(next.ready, next.messages)
    }
  }

  private prepareBulkFrame(): void {
    const queuedBefore = this.bulk.bytes
    const messages = this.bulk.take(FRAME_TARGET_BYTES, MAX_MESSAGES_PER_FRAME)
    const queuedBytes = queuedBefore - this.bulk.bytes
    const plain = encodeFrame(messages)
    const frame: BulkFrame = { plain, messages: messages.length, queuedBytes, ready: plain }
    this.framesAhead.push(frame)
    this.aheadBytes += queuedBytes
    if (this.compressor !== undefined && plain.length > COMPRESS_ABOVE_BYTES) {
      this.compress(this.compressor, frame)
    }
  }

  private compress(compressor: Compressor, frame: BulkFrame): void {
    frame.ready = undefined
    compressor.compress(frame.plain.subarray(1)).then(
      (body) => {
        frame.ready = body.length < frame.plain.length - 1 ? compressedFrame(body) : frame.plain
        this.flush()
      },
      () => {
        // No memory or no thread for it: the frame goes as it is.
        frame.ready = frame.plain
        this.flush()
      },
    )
  }

  private sendFrame(frame: Uint8Array, messages: number): void {
    this.counters.framesOut += 1
    this.counters.messagesOut += messages
    this.counters.bytesOut += frame.length
    this.channel.send(frame)
  }
}

function requireSize(message: Uint8Array): void {
  if (message.length === 0 || message.length > MAX_MESSAGE_BYTES) {
    throw new InvalidArgumentError(`a message has 1 to ${MAX_MESSAGE_BYTES} bytes, not ${message.length}`)
  }
}
