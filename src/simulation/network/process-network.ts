import type {
  Channel,
  DialOptions,
  KeyPair,
  Listener,
  ListenOptions,
  Network,
} from '../../environment/environment.js'
import { DialError } from '../../sync/errors.js'
import { EventKind } from '../kernel/event-queue.js'
import type { SimulatedProcess } from '../kernel/process.js'
import { SeededRandom } from '../kernel/random.js'
import type { VirtualChannel } from './channel.js'
import type { VirtualNetwork } from './network.js'

const SYSTEM_CALL_US = 50

/** The network as one process uses it. */
export class ProcessNetwork implements Network {
  constructor(
    readonly process: SimulatedProcess,
    readonly network: VirtualNetwork,
  ) {
    process.onDeath(() => network.processDied(process))
  }

  listen(options: ListenOptions): Promise<Listener> {
    return new Promise((resolve, reject) => {
      this.process.schedule(SYSTEM_CALL_US, EventKind.network, () => {
        try {
          const address = this.network.bind(this.process, options)
          resolve({ address, close: () => this.#unbind(address) })
        } catch (error) {
          reject(error)
        }
      })
    })
  }

  dial(options: DialOptions): Promise<Channel> {
    return new Promise((resolve, reject) => {
      new Dial(this.process, this.network, options, resolve, reject).start()
    })
  }

  /** Not Ed25519, but as much as anybody sees of it here: a pair that follows from the seed and from nothing else. */
  keyPair(seed: Uint8Array): KeyPair {
    const stream = new SeededRandom(`key-pair/${seed.join(',')}`)
    const publicKey = stream.bytes(32)
    const secretKey = new Uint8Array(64)
    secretKey.set(stream.bytes(32))
    secretKey.set(publicKey, 32)
    return { publicKey, secretKey }
  }

  #unbind(address: string): Promise<void> {
    return new Promise((resolve) => {
      this.process.schedule(SYSTEM_CALL_US, EventKind.network, () => {
        this.network.unbind(this.process, address)
        resolve()
      })
    })
  }
}

/**
 * One attempt to connect: a round trip to find the listener, another for the handshake, half a one to tell
 * the dialer. A cut on the way makes it hang to its timeout; when that happens after the listener's side was
 * told, that side holds a connection to nobody, as with real sockets.
 */
class Dial {
  #settled = false
  #succeeded = false
  readonly #onAbort = () => this.#fail('aborted')

  constructor(
    readonly process: SimulatedProcess,
    readonly network: VirtualNetwork,
    readonly options: DialOptions,
    readonly resolve: (channel: Channel) => void,
    readonly reject: (error: Error) => void,
  ) {}

  start(): void {
    const { options, process, network } = this
    if (options.signal?.aborted) {
      process.schedule(SYSTEM_CALL_US, EventKind.network, () => this.#fail('aborted'))
      return
    }
    options.signal?.addEventListener('abort', this.#onAbort, { once: true })
    process.schedule(options.handshakeTimeoutMs * 1000, EventKind.network, () => this.#fail('timed out'))
    const to = network.serverAt(options.address)
    if (to === undefined) {
      process.schedule(SYSTEM_CALL_US * 4, EventKind.network, () => this.#fail('connection refused'))
      return
    }
    const from = process.server
    this.#travel(from, to, () => {
      if (network.listenerAt(options.address) === undefined) {
        this.#travel(to, from, () => this.#fail('connection refused'))
        return
      }
      this.#travel(to, from, () => this.#travel(from, to, () => this.#accept(to)))
    })
  }

  #accept(to: number): void {
    const { network, options, process } = this
    const bound = network.listenerAt(options.address)
    if (bound === undefined) {
      this.#travel(to, process.server, () => this.#fail('connection reset'))
      return
    }
    if (this.#settled || !process.alive) return
    bound.process.deliver(EventKind.network, () => {
      if (this.#settled || !process.alive || network.listenerAt(options.address) !== bound) return
      const { dialer, acceptor } = network.open(process, bound, options)
      this.#travel(to, process.server, () => {
        process.deliver(EventKind.network, () => this.#succeed(dialer))
      })
      // A side that never hears of the connection closes its socket at the timeout, at the latest.
      process.schedule(options.handshakeTimeoutMs * 1000, EventKind.network, () => {
        if (!this.#succeeded) dialer.fail('handshake not finished')
      })
      bound.options.onChannel(acceptor)
    })
  }

  /** Calls `arrived` when a packet has got there; never when the path is cut or the machine off. */
  #travel(from: number, to: number, arrived: () => void): void {
    const { network } = this
    network.kernel.schedule(network.conditions.latencyUs(from, to), EventKind.network, () => {
      if (!network.conditions.isCut(from, to) && !network.isPoweredOff(to)) arrived()
    })
  }

  #succeed(channel: VirtualChannel): void {
    if (this.#settled) {
      channel.fail('handshake given up')
      return
    }
    this.#succeeded = true
    this.#settle()
    this.resolve(channel)
  }

  #fail(reason: string): void {
    if (this.#settled) return
    this.process.deliver(EventKind.network, () => {
      if (this.#settled) return
      this.#settle()
      this.reject(new DialError(`${this.options.address}: ${reason}`))
    })
  }

  #settle(): void {
    this.#settled = true
    this.options.signal?.removeEventListener('abort', this.#onAbort)
  }
}
