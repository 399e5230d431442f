import type { Channel, Clock, Compressor, Scheduler, Timer } from '../environment/environment.js'
import { FrameError } from '../sync/errors.js'
import { decodeTuple, messageTypeOf } from '../wire/safe-cbor.js'
import type { WireTuple } from '../wire/wire-value.js'
import { isCompressedFrame, MAX_FRAME_BYTES, splitBody } from './frame.js'
import type { InboundMessage, LinkCounters } from './link.js'
import { TokenBucket } from './token-bucket.js'
import type { SlicedTask, Turns } from './turns.js'

/** Frames that arrived and wait for their turn; above it the channel is paused, below half resumed. */
export const MAX_INBOUND_BYTES = 2 * 1024 * 1024
const MAX_INBOUND_FRAMES = 4096
/** Frames decompressed ahead of their turn: each may grow to MAX_FRAME_BYTES. */
const MAX_DECOMPRESSED_AHEAD = 3
/** What one peer may make us work on; beyond it its messages wait. Many times what a busy mesh sends. */
export const MAX_MESSAGES_PER_SECOND = 200_000
const MAX_BYTES_PER_SECOND = 128 * 1024 * 1024

interface InboundFrame {
  readonly bytes: Uint8Array
  readonly compressed: boolean
  decompressing: boolean
  /** Present when it can be split. */
  body: Uint8Array | undefined
  fault: unknown
}

/**
 * The receiving half of a link: bounded, in order, in slices. Whatever breaks the protocol ends in one
 * `fault`, after which nothing is delivered.
 */
export class Inbound implements SlicedTask {
  private frames: InboundFrame[] = []
  private frameBytes = 0
  private messages: Uint8Array[] = []
  private nextMessage = 0
  paused = false
  private stopped = false
  private rateTimer: Timer | undefined
  private onDelivered: (() => void) | undefined
  private readonly messageRate: TokenBucket
  private readonly byteRate: TokenBucket

  constructor(
    private readonly channel: Channel,
    private readonly environment: {
      readonly clock: Clock
      readonly scheduler: Scheduler
      readonly compressor: Compressor
    },
    private readonly turns: Turns,
    private readonly counters: LinkCounters,
    private readonly events: { message(message: InboundMessage): void; fault(error: FrameError): void },
  ) {
    const nowMs = environment.clock.monotonicMs()
    this.messageRate = new TokenBucket(MAX_MESSAGES_PER_SECOND, MAX_MESSAGES_PER_SECOND, nowMs)
    this.byteRate = new TokenBucket(MAX_BYTES_PER_SECOND, MAX_BYTES_PER_SECOND, nowMs)
  }

  /** A frame has arrived on the channel. */
  receive(bytes: Uint8Array): void {
    if (this.stopped) return
    this.counters.framesIn += 1
    this.counters.bytesIn += bytes.length
    let compressed: boolean
    try {
      compressed = isCompressedFrame(bytes)
    } catch (error) {
      // In its turn: what came before it is still good and is delivered first.
      this.enqueue({ bytes, compressed: false, decompressing: false, body: undefined, fault: error })
      return
    }
    const body = compressed ? undefined : bytes.subarray(1)
    this.enqueue({ bytes, compressed, decompressing: false, body, fault: undefined })
  }

  /** Nothing more will arrive; `done` is called once what has arrived is delivered, unless stopped before. */
  endOfInput(done: () => void): void {
    this.onDelivered = done
    this.turns.request(this)
  }

  /** Delivers nothing more. */
  stop(): void {
    this.stopped = true
    this.onDelivered = undefined
    this.rateTimer?.cancel()
    this.frames = []
    this.messages = []
  }

  workUntil(untilMs: number): boolean {
    const { clock } = this.environment
    while (!this.stopped && this.rateTimer === undefined) {
      if (this.nextMessage === this.messages.length && !this.openNextFrame()) return false
      if (this.stopped) return false
      const nowMs = clock.monotonicMs()
      if (this.waitForRate(nowMs)) return false
      this.deliver(this.messages[this.nextMessage++]!)
      if (clock.monotonicMs() >= untilMs) return !this.stopped
    }
    return false
  }

  private enqueue(frame: InboundFrame): void {
    this.frames.push(frame)
    this.frameBytes += frame.bytes.length
    this.decompressAhead()
    this.adjustFlow()
    this.turns.request(this)
  }

  /** Splits the first frame when it is ready. False when there is none (yet), or it was bad. */
  private openNextFrame(): boolean {
    const frame = this.frames[0]
    if (frame === undefined) {
      this.onDelivered?.()
      return false
    }
    if (frame.fault !== undefined) return this.fault(frame.fault)
    if (frame.body === undefined) return false
    this.frames.shift()
    this.frameBytes -= frame.bytes.length
    try {
      this.messages = splitBody(frame.body)
      this.nextMessage = 0
    } catch (error) {
      return this.fault(error)
    }
    this.decompressAhead()
    this.adjustFlow()
    return true
  }

  private deliver(bytes: Uint8Array): void {
    this.messageRate.take(1)
    this.byteRate.take(bytes.length)
    this.counters.messagesIn += 1
    try {
      this.events.message(new LazyMessage(messageTypeOf(bytes), bytes))
    } catch (error) {
      this.fault(error)
    }
  }

  private decompressAhead(): void {
    const soonest = Math.min(this.frames.length, MAX_DECOMPRESSED_AHEAD)
    for (let position = 0; position < soonest; position++) {
      const frame = this.frames[position]!
      if (frame.compressed && !frame.decompressing) this.decompress(frame)
    }
  }

  private decompress(frame: InboundFrame): void {
    frame.decompressing = true
    this.environment.compressor.decompress(frame.bytes.subarray(1), MAX_FRAME_BYTES).then(
      (body) => {
        frame.body = body
        if (!this.stopped) this.turns.request(this)
      },
      (error: unknown) => {
        frame.fault = error instanceof FrameError ? error : new FrameError(String(error), { cause: error })
        if (!this.stopped) this.turns.request(this)
      },
    )
  }

  /** A peer that exceeds its rate is slowed down, not cut off: its frames wait, then its channel does. */
  private waitForRate(nowMs: number): boolean {
    const waitMs = Math.max(this.messageRate.waitMs(nowMs), this.byteRate.waitMs(nowMs))
    if (waitMs === 0) return false
    this.rateTimer = this.environment.scheduler.after(waitMs, () => {
      this.rateTimer = undefined
      this.turns.request(this)
    })
    return true
  }

  private adjustFlow(): void {
    const full = this.frameBytes > MAX_INBOUND_BYTES || this.frames.length > MAX_INBOUND_FRAMES
    const roomy = this.frameBytes <= MAX_INBOUND_BYTES / 2 && this.frames.length <= MAX_INBOUND_FRAMES / 2
    if (full && !this.paused) {
      this.paused = true
      this.counters.pauses += 1
      this.channel.pause()
    } else if (roomy && this.paused) {
      this.paused = false
      this.channel.resume()
    }
  }

  /** What is not the peer's fault is a defect of this program and goes on up. */
  private fault(error: unknown): false {
    this.stop()
    if (!(error instanceof FrameError)) throw error
    this.events.fault(error)
    return false
  }
}

class LazyMessage implements InboundMessage {
  constructor(
    readonly type: number,
    readonly bytes: Uint8Array,
  ) {}

  decode(): WireTuple {
    return decodeTuple(this.bytes)
  }
}
