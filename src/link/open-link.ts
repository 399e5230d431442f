import type { Channel, ChannelHandler, Environment, Timer } from '../environment/environment.js'
import { FrameError } from '../sync/errors.js'
import { encodeMessage } from '../wire/encode.js'
import { expectString, expectUint } from '../wire/expect.js'
import { FIRST_PROTOCOL_MESSAGE_TYPE } from '../wire/wire-value.js'
import { Inbound } from './inbound.js'
import type { InboundMessage, Link, LinkCounters, LinkDownReason, LinkHandler, RemoteFacts } from './link.js'
import { Outbound } from './outbound.js'
import type { Turns } from './turns.js'

/** The link's own messages, below `FIRST_PROTOCOL_MESSAGE_TYPE`. */
const PING = 0
const PONG = 1
const BYE = 2

/**
 * Silence is counted in ticks of our own timer, not in time: while this process itself stands still (a long
 * tick of the game, SIGSTOP, a laptop's lid) nothing is counted against the peer.
 */
export const SILENCE_TICK_MS = 5_000
/** After two quiet ticks the peer is asked for a sign of life, after six the link is closed. */
const TICKS_UNTIL_PING = 2
export const TICKS_UNTIL_CLOSED = 6
/** A link on which nothing comes any more is closed within this time. */
export const SILENT_LINK_MS = SILENCE_TICK_MS * (TICKS_UNTIL_CLOSED + 1)
const MAX_REASON_LENGTH = 200
const MAX_PINGS_OPEN = 16

export interface OpenLinkOptions {
  readonly channel: Channel
  readonly remote: RemoteFacts
  readonly environment: Environment
  readonly turns: Turns
  /** Both sides can, and this one wants to. */
  readonly compress: boolean
  /** Called once, at the moment when the link stops being one. */
  readonly onDown: (link: OpenLink, reason: LinkDownReason) => void
}

/** A link over a channel whose hello exchange is done. */
export class OpenLink implements Link {
  readonly remote: RemoteFacts
  readonly initiator: boolean
  readonly openedMs: number
  readonly counters: LinkCounters = {
    bytesIn: 0,
    bytesOut: 0,
    framesIn: 0,
    framesOut: 0,
    messagesIn: 0,
    messagesOut: 0,
    unknownMessagesIn: 0,
    pauses: 0,
  }
  lastHeardMs: number
  closed = false
  /** Takes over the channel after the hello exchange. */
  readonly channelHandler: ChannelHandler = {
    message: (frame) => this.onFrame(frame),
    drain: () => this.outbound.flush(),
    closed: (reason) => this.onChannelClosed(reason),
  }
  private handler: LinkHandler | undefined
  private readonly inbound: Inbound
  private readonly outbound: Outbound
  private readonly pings = new Map<number, () => void>()
  private nextPing = 1
  private quietTicks = 0
  private silenceTimer: Timer
  /** Set once the channel itself has ended; the driver waits for it when it stops. */
  private channelEnded = false
  private onChannelEnded: (() => void)[] = []

  constructor(private readonly options: OpenLinkOptions) {
    const { channel, environment, turns } = options
    this.remote = options.remote
    this.initiator = channel.initiator
    this.openedMs = environment.clock.monotonicMs()
    this.lastHeardMs = this.openedMs
    this.outbound = new Outbound(
      channel,
      options.compress ? environment.compressor : undefined,
      this.counters,
      {
        bulkDrained: () => this.handler?.bulkDrained(),
        // On a turn of its own: the owner is in the middle of a send and does not expect `linkDown` there.
        controlOverflow: () => queueMicrotask(() => this.onControlOverflow()),
      },
    )
    this.inbound = new Inbound(channel, environment, turns, this.counters, {
      message: (message) => this.onMessage(message),
      fault: (error) => this.end({ reason: `protocol broken: ${error.message}`, by: 'local', error }, true),
    })
    this.silenceTimer = this.nextSilenceTick()
  }

  get bulkBufferedBytes(): number {
    return this.outbound.bulkBufferedBytes
  }

  /** Who gets the messages. Set before any is delivered, because that happens on later turns only. */
  setHandler(handler: LinkHandler): void {
    this.handler = handler
  }

  sendControl(message: Uint8Array): void {
    this.outbound.sendControl(message)
  }

  sendBulk(message: Uint8Array): boolean {
    return this.outbound.sendBulk(message)
  }

  probe(timeoutMs: number): Promise<boolean> {
    if (this.closed || this.pings.size >= MAX_PINGS_OPEN) return Promise.resolve(!this.closed)
    const number = this.nextPing++
    return new Promise((resolve) => {
      const settle = (answered: boolean) => {
        timer.cancel()
        this.pings.delete(number)
        resolve(answered)
      }
      const timer = this.options.environment.scheduler.after(timeoutMs, () => settle(false))
      this.pings.set(number, () => settle(!this.closed))
      this.sendControl(encodeMessage([PING, number]))
    })
  }

  close(reason: string): void {
    this.end({ reason, by: 'local' }, true)
  }

  /** Resolves when the channel under the link has ended. */
  ended(): Promise<void> {
    if (this.channelEnded) return Promise.resolve()
    return new Promise((resolve) => this.onChannelEnded.push(resolve))
  }

  private onFrame(frame: Uint8Array): void {
    this.lastHeardMs = this.options.environment.clock.monotonicMs()
    this.quietTicks = 0
    this.inbound.receive(frame)
  }

  private onChannelClosed(reason: string): void {
    this.channelEnded = true
    // What the peer sent before it closed, its farewell among it, still counts.
    this.inbound.endOfInput(() => this.end({ reason, by: 'transport' }, false))
    for (const resolve of this.onChannelEnded.splice(0)) resolve()
  }

  private onMessage(message: InboundMessage): void {
    if (message.type < FIRST_PROTOCOL_MESSAGE_TYPE) {
      this.onOwnMessage(message)
      return
    }
    try {
      if (this.handler?.message(message) !== true) this.counters.unknownMessagesIn += 1
    } catch (error) {
      // A FrameError becomes the link's fault further up; anything else is a defect here and stays visible.
      if (!(error instanceof FrameError)) this.close('internal error')
      throw error
    }
  }

  private onOwnMessage(message: InboundMessage): void {
    switch (message.type) {
      case PING:
        this.sendControl(encodeMessage([PONG, expectUint(message.decode()[1], 'ping')]))
        return
      case PONG:
        this.pings.get(expectUint(message.decode()[1], 'pong'))?.()
        return
      case BYE: {
        const reason = expectString(message.decode()[1], MAX_REASON_LENGTH, 'reason')
        this.end({ reason: reason.replace(/\p{Cc}/gu, '?'), by: 'remote' }, false)
        return
      }
      default:
        this.counters.unknownMessagesIn += 1
    }
  }

  private onControlOverflow(): void {
    this.outbound.discard()
    this.end({ reason: 'the peer takes no messages: control queue full', by: 'local' }, false)
  }

  private end(reason: LinkDownReason, sayBye: boolean): void {
    if (this.closed) return
    this.closed = true
    this.silenceTimer.cancel()
    this.inbound.stop()
    if (sayBye) {
      this.outbound.finish(encodeMessage([BYE, byeText(reason.reason)]))
    } else {
      this.outbound.discard()
    }
    if (!this.channelEnded) this.options.channel.close(reason.reason)
    for (const settle of [...this.pings.values()]) settle()
    this.options.onDown(this, reason)
  }

  private nextSilenceTick(): Timer {
    return this.options.environment.scheduler.after(SILENCE_TICK_MS, () => this.onSilenceTick())
  }

  private onSilenceTick(): void {
    this.silenceTimer = this.nextSilenceTick()
    // While we do not read, the peer cannot be heard.
    this.quietTicks = this.inbound.paused ? 0 : this.quietTicks + 1
    if (this.quietTicks >= TICKS_UNTIL_CLOSED) {
      const silentMs = SILENCE_TICK_MS * TICKS_UNTIL_CLOSED
      this.end({ reason: `not a word from the peer in ${silentMs} ms`, by: 'local' }, true)
    } else if (this.quietTicks >= TICKS_UNTIL_PING) {
      this.sendControl(encodeMessage([PING, 0]))
    }
  }
}

function byeText(reason: string): string {
  return reason.slice(0, MAX_REASON_LENGTH).replace(/\p{Cs}/gu, '?')
}
