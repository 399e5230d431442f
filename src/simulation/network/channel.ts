import {
  type Channel,
  type ChannelHandler,
  MAX_CHANNEL_MESSAGE_BYTES,
} from '../../environment/environment.js'
import { InvalidArgumentError } from '../../sync/errors.js'
import { EventKind } from '../kernel/event-queue.js'
import type { SimulatedProcess } from '../kernel/process.js'
import type { Pipe } from './pipe.js'

/** How long `close` goes on sending what is queued. */
const LINGER_US = 1_000_000
const DRAIN_DELAY_US = 20
const CLOSE_DELAY_US = 50

export interface ChannelIdentity {
  readonly initiator: boolean
  readonly remotePublicKey: Uint8Array
  readonly handshakeHash: Uint8Array
  readonly remoteAddress: string
}

/**
 * One end of a virtual connection. Everything it tells its owner is an event of the owner's process: in
 * order, late while that is blocked, never after its death.
 */
export class VirtualChannel implements Channel {
  readonly initiator: boolean
  readonly remotePublicKey: Uint8Array
  readonly handshakeHash: Uint8Array
  readonly remoteAddress: string
  #outgoing: Pipe | undefined
  #incoming: Pipe | undefined
  #handler: ChannelHandler | undefined
  #arrived: Uint8Array[] = []
  #paused = false
  #delivering = false
  #state: 'open' | 'closing' | 'closed' = 'open'
  #closedToldReason: string | undefined
  #remoteEnded = false
  /** The machine is off or the connection's state is lost on the way: no answer of any kind comes from here. */
  vanished = false

  constructor(
    readonly process: SimulatedProcess,
    identity: ChannelIdentity,
    readonly onEnd: () => void,
  ) {
    this.initiator = identity.initiator
    this.remotePublicKey = identity.remotePublicKey
    this.handshakeHash = identity.handshakeHash
    this.remoteAddress = identity.remoteAddress
  }

  get server(): number {
    return this.process.server
  }

  get open(): boolean {
    return this.#state === 'open'
  }

  get bufferedBytes(): number {
    return this.#outgoing?.queuedBytes ?? 0
  }

  /** Network only: the two directions. */
  connect(outgoing: Pipe, incoming: Pipe): void {
    this.#outgoing = outgoing
    this.#incoming = incoming
  }

  setHandler(handler: ChannelHandler): void {
    if (this.#handler !== undefined) throw new InvalidArgumentError('the handler of a channel is set once')
    this.#handler = handler
    this.#deliverSoon()
    if (this.#closedToldReason !== undefined) this.#tellClosed(this.#closedToldReason)
  }

  send(message: Uint8Array): void {
    if (message.length > MAX_CHANNEL_MESSAGE_BYTES) {
      throw new InvalidArgumentError(`a message of ${message.length} bytes exceeds the channel's limit`)
    }
    if (message.length === 0) throw new InvalidArgumentError('a message of a channel is not empty')
    if (this.#state === 'open' && this.process.alive) this.#outgoing?.send(message)
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#deliverSoon()
  }

  close(reason: string): void {
    if (this.#state !== 'open') return
    this.#state = 'closing'
    this.#outgoing?.end()
    const lingerUs = this.bufferedBytes > 0 ? LINGER_US : CLOSE_DELAY_US
    this.process.kernel.schedule(lingerUs, EventKind.network, () => this.#end(reason))
  }

  /** Network only: a message has reached this end's system. */
  arrive(message: Uint8Array): void {
    if (this.#state === 'closed') {
      this.#incoming?.source.failSoon('connection reset')
      return
    }
    if (this.#handler === undefined || this.#paused || this.#arrived.length > 0 || this.process.blocked) {
      this.#arrived.push(message)
      this.#deliverSoon()
    } else this.process.kernel.actAs(this.process, () => this.#hand(message))
  }

  /** Network only: the other side closed; told after all messages before it. */
  remoteEnded(): void {
    this.#remoteEnded = true
    this.#deliverSoon()
  }

  /** Network only: this end's system gave the connection up, now. */
  fail(reason: string): void {
    this.#end(reason)
  }

  /** Network only: a reset is on its way to this end; it is lost when the path is cut. */
  failSoon(reason: string): void {
    const incoming = this.#incoming
    if (incoming === undefined || this.#state === 'closed') return
    const { kernel, conditions, source } = incoming
    kernel.schedule(conditions.latencyUs(source.server, this.server), EventKind.network, () => {
      if (!conditions.isCut(source.server, this.server)) this.#end(reason)
    })
  }

  scheduleDrain(): void {
    this.process.schedule(DRAIN_DELAY_US, EventKind.network, () => {
      if (this.#state === 'open') this.#handler?.drain()
    })
  }

  /** One message per event, so that promise reactions run between two of them. */
  #deliverSoon(): void {
    if (this.#delivering || this.#handler === undefined || this.#state === 'closed') return
    this.#delivering = true
    this.process.schedule(0, EventKind.network, () => {
      this.#delivering = false
      if (this.#paused || this.#state === 'closed') return
      const message = this.#arrived.shift()
      if (message !== undefined) this.#hand(message)
      else if (this.#remoteEnded) this.#end('closed by the other side')
      if (this.#arrived.length > 0 || this.#remoteEnded) this.#deliverSoon()
    })
  }

  #hand(message: Uint8Array): void {
    this.#incoming?.release(message.length)
    if (this.#state === 'open') this.#handler?.message(message)
  }

  /** Network only: the process is gone. Its system resets the connection, unless the machine is off, too. */
  processDied(silently: boolean): void {
    this.vanished = silently
    this.#end('process died')
  }

  /** Network only: the machine is on again, and knows nothing of the connection. */
  reappear(): void {
    this.vanished = false
    this.#incoming?.pathChanged()
  }

  #end(reason: string): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    const outgoing = this.#outgoing
    if (outgoing !== undefined && !outgoing.endSent && !this.vanished)
      outgoing.target.failSoon('connection reset')
    outgoing?.abandon()
    this.#arrived = []
    this.onEnd()
    this.#tellClosed(reason)
  }

  #tellClosed(reason: string): void {
    this.#closedToldReason = reason
    const handler = this.#handler
    if (handler !== undefined) this.process.schedule(0, EventKind.network, () => handler.closed(reason))
  }
}
