import type { DialOptions, ListenOptions } from '../../environment/environment.js'
import { AddressInUseError } from '../../sync/errors.js'
import type { Kernel } from '../kernel/kernel.js'
import type { SimulatedProcess } from '../kernel/process.js'
import { VirtualChannel } from './channel.js'
import type { NetworkConditions } from './conditions.js'
import { type MessageObserver, Pipe } from './pipe.js'

const FIRST_EPHEMERAL_PORT = 40_000

export interface Bound {
  readonly process: SimulatedProcess
  readonly options: ListenOptions
}

export type BreakKind = 'reset' | 'half-open' | 'silent'

interface Connection {
  readonly dialer: VirtualChannel
  readonly acceptor: VirtualChannel
  readonly pipes: readonly [Pipe, Pipe]
}

/** All wires between the simulated servers. Each process sees it through its own `ProcessNetwork`. */
export class VirtualNetwork {
  readonly #bound = new Map<string, Bound>()
  readonly #connections = new Set<Connection>()
  readonly #poweredOff = new Map<number, VirtualChannel[]>()
  #nextPort = FIRST_EPHEMERAL_PORT
  #nextConnection = 0

  constructor(
    readonly kernel: Kernel,
    readonly conditions: NetworkConditions,
    readonly observe?: MessageObserver,
  ) {
    conditions.onChange((from, to) => this.#pathChanged(from, to))
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  /** Both ends of every connection, as long as one of them is open. */
  *channels(): IterableIterator<VirtualChannel> {
    for (const { dialer, acceptor } of this.#connections) {
      yield dialer
      yield acceptor
    }
  }

  bind(process: SimulatedProcess, options: ListenOptions): string {
    const port = options.port === 0 ? this.#nextPort++ : options.port
    const key = `${options.host}:${port}`
    const holder = this.#bound.get(key)
    if (holder?.process.alive) throw new AddressInUseError(`${key} is in use`)
    this.#bound.set(key, { process, options })
    return `ws://${key}`
  }

  unbind(process: SimulatedProcess, address: string): void {
    const key = address.slice('ws://'.length)
    if (this.#bound.get(key)?.process === process) this.#bound.delete(key)
  }

  /** Who accepts at `ws://host:port` now. */
  listenerAt(address: string): Bound | undefined {
    if (!address.startsWith('ws://')) return undefined
    const bound = this.#bound.get(address.slice('ws://'.length).replace(/\/$/, ''))
    return bound?.process.alive ? bound : undefined
  }

  /** Server that has ever listened at an address, dead or alive: where its packets go. */
  serverAt(address: string): number | undefined {
    return this.#bound.get(address.slice('ws://'.length).replace(/\/$/, ''))?.process.server
  }

  isPoweredOff(server: number): boolean {
    return this.#poweredOff.has(server)
  }

  /** The machine goes off without a word: its connections stay open on the other side. Call before killing. */
  powerOff(server: number): void {
    const lost: VirtualChannel[] = []
    this.#poweredOff.set(server, lost)
    for (const { dialer, acceptor } of [...this.#connections]) {
      for (const end of [dialer, acceptor]) {
        if (end.server !== server || !end.open) continue
        lost.push(end)
        end.processDied(true)
      }
    }
  }

  /** The machine is on again: what reaches its old connections is answered with a reset. */
  powerOn(server: number): void {
    const lost = this.#poweredOff.get(server)
    this.#poweredOff.delete(server)
    for (const end of lost ?? []) end.reappear()
  }

  /** The process died, its machine lives: the system resets every connection of it. */
  processDied(process: SimulatedProcess): void {
    for (const { dialer, acceptor } of [...this.#connections]) {
      for (const end of [dialer, acceptor]) if (end.process === process) end.processDied(end.vanished)
    }
  }

  /**
   * Breaks the connections between two servers. `reset`: both sides are told. `half-open`: only `one` is, the
   * other finds out when it sends. `silent`: nobody is; what is sent vanishes until the sender gives up.
   */
  breakConnections(one: number, other: number, how: BreakKind): void {
    for (const { dialer, acceptor, pipes } of [...this.#connections]) {
      const pair = [dialer.server, acceptor.server]
      if (!pair.includes(one) || !pair.includes(other)) continue
      if (how === 'silent') {
        dialer.vanished = true
        acceptor.vanished = true
        continue
      }
      const told = dialer.server === one ? dialer : acceptor
      if (how === 'half-open') {
        told.vanished = true
        pipes[told === dialer ? 0 : 1].sever()
      }
      told.fail('connection reset')
      told.vanished = false
    }
  }

  open(dialerProcess: SimulatedProcess, bound: Bound, options: DialOptions): Connection {
    const handshakeHash = this.kernel.random.fork(`handshake-${this.#nextConnection++}`).bytes(32)
    const forget = () => {
      if (!dialer.open && !acceptor.open) this.#connections.delete(connection)
    }
    const dialer = new VirtualChannel(
      dialerProcess,
      {
        initiator: true,
        remotePublicKey: bound.options.keyPair.publicKey.slice(),
        handshakeHash,
        remoteAddress: options.address,
      },
      () => forget(),
    )
    const acceptor = new VirtualChannel(
      bound.process,
      {
        initiator: false,
        remotePublicKey: options.keyPair.publicKey.slice(),
        handshakeHash: handshakeHash.slice(),
        remoteAddress: `ws://server-${dialerProcess.server}.sim:${this.#nextPort++}`,
      },
      () => forget(),
    )
    const there = new Pipe(this.kernel, this.conditions, dialer, acceptor, this.observe)
    const back = new Pipe(this.kernel, this.conditions, acceptor, dialer, this.observe)
    dialer.connect(there, back)
    acceptor.connect(back, there)
    const connection: Connection = { dialer, acceptor, pipes: [there, back] }
    this.#connections.add(connection)
    return connection
  }

  #pathChanged(from: number, to: number): void {
    for (const { dialer, acceptor, pipes } of [...this.#connections]) {
      const { server: one } = dialer
      const { server: other } = acceptor
      if ((one !== from || other !== to) && (one !== to || other !== from)) continue
      for (const pipe of pipes) pipe.pathChanged()
    }
  }
}
