import { deflateRawSync, inflateRawSync } from 'node:zlib'
import type {
  Channel,
  ChannelHandler,
  Compressor,
  Disk,
  Environment,
  KeyPair,
  ListenOptions,
} from '../../src/environment/environment.js'
import { AddressInUseError, DialError, FrameError } from '../../src/sync/errors.js'

/** Time by hand, randomness from a seed, and channels in memory: enough of a world for links. */
export class FakeWorld {
  nowMs = 1_000
  /** Time that passes with each look at the clock: work costs something, so that slices end. */
  msPerLook = 0
  latencyMs = 1
  /** Each direction of each channel is slower by up to this. */
  jitterMs = 0
  readonly listeners = new Map<string, ListenOptions>()
  readonly channels: FakeChannel[] = []
  readonly dialled: string[] = []
  /** Compression finishes so much later. */
  compressMs = 0
  private tasks: { atMs: number; order: number; task: () => void; cancelled: boolean }[] = []
  private order = 0
  private nextPort = 7000

  constructor(private seed = 7) {}

  environment(): Environment {
    return {
      clock: {
        wallMs: () => 1_700_000_000_000 + this.nowMs,
        monotonicMs: () => {
          this.nowMs += this.msPerLook
          return this.nowMs
        },
      },
      random: {
        bytes: (length) => Uint8Array.from({ length }, () => Math.floor(this.uniform() * 256)),
        uniform: () => this.uniform(),
      },
      scheduler: {
        after: (delayMs, task) => this.schedule(delayMs, task),
        soon: (task) => void this.schedule(0, task),
      },
      network: {
        listen: async (options) => {
          const address = `ws://${options.host}:${options.port || this.nextPort++}`
          if (this.listeners.has(address)) throw new AddressInUseError(address)
          this.listeners.set(address, options)
          return { address, close: async () => void this.listeners.delete(address) }
        },
        dial: async (options) => {
          this.dialled.push(options.address)
          await new Promise<void>((resolve) => this.schedule(this.latencyMs, resolve))
          const listener = this.listeners.get(options.address)
          if (listener === undefined || options.signal?.aborted) throw new DialError(options.address)
          const [near, far] = channelPair(this, options.keyPair, listener.keyPair)
          this.schedule(0, () => listener.onChannel(far))
          return near
        },
        keyPair: (seed) => ({ publicKey: seed, secretKey: seed }),
      },
      disk: undefined as unknown as Disk,
      compressor: this.compressor,
    }
  }

  readonly compressor: Compressor = {
    compress: (data) => this.later(() => deflateRawSync(data, { level: 1 })),
    decompress: (data, maxOutputLength) =>
      this.later(() => {
        try {
          return inflateRawSync(data, { maxOutputLength })
        } catch (error) {
          throw new FrameError((error as Error).message)
        }
      }),
  }

  schedule(delayMs: number, task: () => void): { cancel(): void } {
    const entry = { atMs: this.nowMs + Math.max(0, delayMs), order: this.order++, task, cancelled: false }
    this.tasks.push(entry)
    return {
      cancel: () => {
        entry.cancelled = true
      },
    }
  }

  /** Lets so much time pass, running what falls due, with all promise jobs after each. */
  async pass(ms: number): Promise<void> {
    const endMs = this.nowMs + ms
    await jobs()
    while (true) {
      this.tasks = this.tasks.filter((entry) => !entry.cancelled)
      const next = this.tasks.reduce<(typeof this.tasks)[number] | undefined>(
        (first, entry) =>
          first === undefined ||
          entry.atMs < first.atMs ||
          (entry.atMs === first.atMs && entry.order < first.order)
            ? entry
            : first,
        undefined,
      )
      if (next === undefined || next.atMs > endMs) break
      next.cancelled = true
      this.nowMs = Math.max(this.nowMs, next.atMs)
      next.task()
      await jobs()
    }
    this.nowMs = Math.max(this.nowMs, endMs)
  }

  private async later<T>(work: () => T): Promise<T> {
    if (this.compressMs > 0) await new Promise<void>((resolve) => this.schedule(this.compressMs, resolve))
    return work()
  }

  uniform(): number {
    this.seed = (Math.imul(this.seed, 1664525) + 1013904223) >>> 0
    return this.seed / 2 ** 32
  }
}

function jobs(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

export function fakeKeyPair(number: number): KeyPair {
  return { publicKey: new Uint8Array(32).fill(number), secretKey: new Uint8Array(64).fill(number) }
}

let handshakes = 0

export function channelPair(world: FakeWorld, near: KeyPair, far: KeyPair): [FakeChannel, FakeChannel] {
  handshakes += 1
  const hash = new Uint8Array(64).fill(handshakes & 0xff).fill(handshakes >> 8, 0, 1)
  const a = new FakeChannel(world, true, far.publicKey, hash)
  const b = new FakeChannel(world, false, near.publicKey, hash)
  a.peer = b
  b.peer = a
  world.channels.push(a, b)
  return [a, b]
}

export class FakeChannel implements Channel {
  readonly remoteAddress = 'memory'
  peer!: FakeChannel
  /** All that was sent, for tests that look at frames. */
  readonly sent: Uint8Array[] = []
  /** True: nothing leaves, as if the peer did not read. */
  stalled = false
  /** True: everything is lost silently, as after a power cut at the other end. */
  dead = false
  paused = false
  isClosed = false
  closeReason = ''
  bufferedBytes = 0
  private readonly latencyMs: number
  private handler: ChannelHandler | undefined
  private outbox: Uint8Array[] = []
  private inbox: Uint8Array[] = []

  constructor(
    private readonly world: FakeWorld,
    readonly initiator: boolean,
    readonly remotePublicKey: Uint8Array,
    readonly handshakeHash: Uint8Array,
  ) {
    this.latencyMs = world.latencyMs + (world.jitterMs > 0 ? world.uniform() * world.jitterMs : 0)
  }

  setHandler(handler: ChannelHandler): void {
    this.handler = handler
    this.deliver()
  }

  send(message: Uint8Array): void {
    if (this.isClosed) return
    this.sent.push(message)
    this.outbox.push(message)
    this.bufferedBytes += message.length
    this.world.schedule(this.latencyMs, () => this.leave())
  }

  /** Ends a stall. */
  unstall(): void {
    this.stalled = false
    this.leave()
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
    this.deliver()
  }

  close(reason: string): void {
    if (this.isClosed) return
    this.world.schedule(this.latencyMs, () => {
      this.leave()
      if (!this.dead) this.peer.end('closed by the other side')
      this.end(reason)
    })
    this.isClosed = true
  }

  /** The connection breaks. */
  break(): void {
    this.end('connection lost')
    this.peer.end('connection lost')
  }

  private leave(): void {
    if (this.stalled) return
    const had = this.bufferedBytes
    for (const message of this.outbox.splice(0)) {
      this.bufferedBytes -= message.length
      if (!this.dead && !this.peer.dead) this.peer.arrive(message)
    }
    if (had > 0 && !this.isClosed) this.handler?.drain()
  }

  private arrive(message: Uint8Array): void {
    this.inbox.push(Uint8Array.from(message))
    this.deliver()
  }

  private deliver(): void {
    while (!this.paused && this.handler !== undefined && !this.isClosed && this.inbox.length > 0) {
      this.handler.message(this.inbox.shift()!)
    }
  }

  private end(reason: string): void {
    if (this.closeReason !== '') return
    this.isClosed = true
    this.closeReason = reason
    this.bufferedBytes = 0
    this.handler?.closed(reason)
  }
}
