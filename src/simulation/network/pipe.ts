import { EventKind, type KernelEvent } from '../kernel/event-queue.js'
import { hashBytes } from '../kernel/hash.js'
import type { Kernel } from '../kernel/kernel.js'
import type { VirtualChannel } from './channel.js'
import type { NetworkConditions } from './conditions.js'

/** What the two systems between them hold in socket buffers before `send` has to queue in the process. */
const WINDOW_BYTES = 256 * 1024
/** A departure this near is as good as now; saves an event per message on fast links. */
const BURST_US = 1000
/** When a path comes back, what was stuck is retransmitted after a while, not at once. */
const MAX_RETRANSMIT_DELAY_US = 1_500_000

/** Told of each message that arrives, for the space-time diagram. */
export type MessageObserver = (from: number, to: number, sentUs: number, message: Uint8Array) => void

interface InFlight {
  readonly message: Uint8Array
  /** Of the content when it was sent: the real channel reads the array later, so nobody may write to it. */
  readonly hash: number
  readonly sentUs: number
}

/**
 * One direction of a connection, as TCP treats it: in order; queued at the sender when the link is slow or
 * the receiver does not read; stuck, not lost, while the path is cut; given up by the sender when nothing
 * was acknowledged for too long (also when only the acknowledgements cannot come back).
 */
export class Pipe {
  #queue: InFlight[] = []
  #queuedBytes = 0
  #windowBytes = 0
  #unacknowledgedBytes = 0
  #transmitFreeUs = 0
  #lastArrivalUs = 0
  #departure: KernelEvent | undefined
  #timeout: KernelEvent | undefined
  #stuck: InFlight[] = []
  #retransmitting = false
  #drainWanted = false
  #dead = false
  #endWanted = false
  #endSent = false
  #severed = false

  constructor(
    readonly kernel: Kernel,
    readonly conditions: NetworkConditions,
    readonly source: VirtualChannel,
    readonly target: VirtualChannel,
    readonly observe: MessageObserver | undefined,
  ) {}

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  /** The end of the stream is on its way. */
  get endSent(): boolean {
    return this.#endSent
  }

  send(message: Uint8Array): void {
    if (this.#dead || this.#endWanted) return
    this.#queue.push({ message, hash: hashBytes(message), sentUs: this.kernel.nowUs })
    this.#queuedBytes += message.length
    this.#pump()
    if (this.#queuedBytes > 0) this.#drainWanted = true
  }

  /** After what is queued, tells the other side that no more will come. */
  end(): void {
    this.#endWanted = true
    this.#pump()
  }

  /** The sending side is gone: nothing more leaves; what is on the way may still arrive. */
  abandon(): void {
    this.#dead = true
    this.#queue = []
    this.#queuedBytes = 0
    this.#departure?.cancel()
    this.#timeout?.cancel()
  }

  /** What is on the way is lost, too. */
  sever(): void {
    this.abandon()
    this.#stuck = []
    this.#severed = true
  }

  /** The receiver has taken a message out of the buffers. */
  release(bytes: number): void {
    if (this.#reverseCut()) this.#unacknowledgedBytes += bytes
    else this.#windowBytes -= bytes
    this.#pump()
  }

  /** The path in this or the other direction was cut or healed. */
  pathChanged(): void {
    if (this.#severed) return
    if (!this.#reverseCut()) {
      this.#windowBytes -= this.#unacknowledgedBytes
      this.#unacknowledgedBytes = 0
    }
    if (!this.#impaired()) {
      this.#timeout?.cancel()
      this.#timeout = undefined
    }
    if (this.#stuck.length > 0 && !this.#forwardCut()) this.#retransmitLater()
    this.#pump()
  }

  #forwardCut(): boolean {
    return this.conditions.isCut(this.source.server, this.target.server)
  }

  #reverseCut(): boolean {
    return this.conditions.isCut(this.target.server, this.source.server)
  }

  #impaired(): boolean {
    return this.#forwardCut() || this.#reverseCut() || this.target.vanished
  }

  #pump(): void {
    if (this.#dead) return
    const { kernel } = this
    while (this.#queue.length > 0) {
      if (this.#windowBytes >= WINDOW_BYTES) return
      if (this.#transmitFreeUs > kernel.nowUs + BURST_US) {
        this.#departLater()
        return
      }
      const leaving = this.#queue.shift() as InFlight
      this.#queuedBytes -= leaving.message.length
      this.#transmit(leaving)
    }
    if (this.#drainWanted) {
      this.#drainWanted = false
      this.source.scheduleDrain()
    }
    if (this.#endWanted && !this.#endSent) this.#transmitEnd()
  }

  #departLater(): void {
    if (this.#departure !== undefined) return
    this.#departure = this.kernel.schedule(
      this.#transmitFreeUs - this.kernel.nowUs,
      EventKind.network,
      () => {
        this.#departure = undefined
        this.#pump()
      },
    )
  }

  #transmit(leaving: InFlight): void {
    const { length } = leaving.message
    this.#windowBytes += length
    const delayUs = this.#arrivalTime(length) - this.kernel.nowUs
    this.kernel.schedule(delayUs, EventKind.network, () => this.#arrive(leaving))
  }

  #transmitEnd(): void {
    this.#endSent = true
    const arrivalUs = this.#arrivalTime(0)
    this.kernel.schedule(arrivalUs - this.kernel.nowUs, EventKind.network, () => {
      if (!this.#severed && !this.#forwardCut() && this.#stuck.length === 0) this.target.remoteEnded()
    })
  }

  #arrivalTime(bytes: number): number {
    const { server: from } = this.source
    const { server: to } = this.target
    this.#transmitFreeUs =
      Math.max(this.kernel.nowUs, this.#transmitFreeUs) + this.conditions.transmissionUs(from, to, bytes)
    const arrivalUs = Math.ceil(this.#transmitFreeUs) + this.conditions.latencyUs(from, to)
    this.#lastArrivalUs = Math.max(this.#lastArrivalUs + 1, arrivalUs)
    return this.#lastArrivalUs
  }

  #arrive(arriving: InFlight): void {
    if (this.#severed) return
    if (this.#forwardCut() || this.#stuck.length > 0 || this.target.vanished) {
      this.#stuck.push(arriving)
      this.#giveUpLater()
      return
    }
    if (this.#reverseCut()) this.#giveUpLater()
    this.#handOver(arriving)
  }

  #handOver({ message, hash, sentUs }: InFlight): void {
    const { source, target } = this
    if (hashBytes(message) !== hash) throw new Error('a message was written to after it had been sent')
    this.kernel.record(EventKind.network, source.server, (target.server << 20) ^ message.length, hash)
    this.observe?.(source.server, target.server, sentUs, message)
    target.arrive(message.slice())
  }

  #retransmitLater(): void {
    if (this.#retransmitting) return
    this.#retransmitting = true
    const delayUs = this.conditions.random.integer(1000, MAX_RETRANSMIT_DELAY_US)
    this.kernel.schedule(delayUs, EventKind.network, () => this.#retransmit())
  }

  /** One message per event, so that the receiver's promises run in between. */
  #retransmit(): void {
    this.#retransmitting = false
    if (this.#severed || this.#forwardCut() || this.target.vanished) return
    const next = this.#stuck.shift()
    if (next === undefined) return
    this.#handOver(next)
    if (this.#stuck.length === 0) {
      if (this.#endSent) this.target.remoteEnded()
      return
    }
    this.#retransmitting = true
    this.kernel.schedule(1, EventKind.network, () => this.#retransmit())
  }

  #giveUpLater(): void {
    if (this.#timeout !== undefined || this.#dead) return
    const { unacknowledgedTimeoutUs } = this.conditions.profile
    this.#timeout = this.kernel.schedule(unacknowledgedTimeoutUs, EventKind.network, () => {
      this.#timeout = undefined
      if (!this.#impaired() || this.#dead) return
      this.source.fail('connection timed out')
      if (!this.#forwardCut() && !this.target.vanished) this.target.failSoon('connection reset')
    })
  }
}
