import type { Test } from 'tap'
import {
  type Channel,
  type KeyPair,
  type Listener,
  MAX_CHANNEL_MESSAGE_BYTES,
  type Network,
} from '../../src/environment/environment.js'
import { AddressInUseError, DialError, InvalidArgumentError } from '../../src/sync/errors.js'

/** A `Network` to try, and how to let its time pass. */
export interface NetworkUnderTest {
  readonly network: Network
  /** Host to listen on. */
  readonly host: string
  /** A well-formed address at which nobody listens. */
  readonly nobodyAddress: string
  /** Different for each number. */
  keyPair(number: number): KeyPair
  /** Lets time (real or virtual) pass until the promise settles. */
  settled<T>(promise: Promise<T>): Promise<T>
  /** Lets `ms` of time pass. */
  pass(ms: number): Promise<void>
  close(): Promise<void>
}

const TIMEOUT_MS = 3000

/** What every `Network` must do; run by tests of the real one and of the simulator's. */
export async function networkConformance(
  t: Test,
  create: () => NetworkUnderTest | Promise<NetworkUnderTest>,
): Promise<void> {
  const check = (name: string, body: (t: Test, pair: Bench) => Promise<void>) =>
    t.test(name, async (t) => {
      const bench = new Bench(await create())
      try {
        await body(t, bench)
      } finally {
        await bench.close()
      }
    })

  await check('both ends know each other by proven keys and share a handshake hash', async (t, bench) => {
    const { near, far } = await bench.connect()
    t.ok(near.initiator)
    t.notOk(far.initiator)
    t.same(hex(near.remotePublicKey), hex(bench.net.keyPair(1).publicKey))
    t.same(hex(far.remotePublicKey), hex(bench.net.keyPair(2).publicKey))
    t.same(hex(near.handshakeHash), hex(far.handshakeHash))
    t.ok(near.handshakeHash.length >= 32)
    t.ok(near.remoteAddress !== '' && far.remoteAddress !== '')
    const again = await bench.connect()
    t.not(hex(again.near.handshakeHash), hex(near.handshakeHash), 'unique to each handshake')
  })

  await check('messages arrive whole and in order, both ways, up to the largest', async (t, bench) => {
    const { near, far } = await bench.connect()
    const sizes = [1, 2, 100, 65_535, 65_536, 70_000, MAX_CHANNEL_MESSAGE_BYTES, 3]
    const atFar = new Recorder(far)
    const atNear = new Recorder(near)
    for (const size of sizes) {
      near.send(patterned(size, 1))
      far.send(patterned(size, 2))
    }
    await bench.net.settled(Promise.all([atFar.received(sizes.length), atNear.received(sizes.length)]))
    t.same(
      atFar.messages.map(summary),
      sizes.map((size) => summary(patterned(size, 1))),
    )
    t.same(
      atNear.messages.map(summary),
      sizes.map((size) => summary(patterned(size, 2))),
    )
    t.throws(() => near.send(new Uint8Array(MAX_CHANNEL_MESSAGE_BYTES + 1)), InvalidArgumentError)
    t.throws(() => near.send(new Uint8Array(0)), InvalidArgumentError)
    t.notOk(atNear.closedReason, 'a refused message leaves the channel open')
  })

  await check('a paused reader fills the sender up, and loses nothing', async (t, bench) => {
    const { near, far } = await bench.connect()
    const atFar = new Recorder(far)
    const atNear = new Recorder(near)
    far.pause()
    const count = 400
    for (let index = 0; index < count; index++) near.send(patterned(100_000, index % 251))
    t.ok(near.bufferedBytes > 30_000_000, 'what was just sent counts as buffered')
    await bench.net.pass(300)
    const whilePaused = atFar.messages.length
    t.ok(whilePaused <= 20, `${whilePaused} messages came through a paused channel`)
    t.ok(near.bufferedBytes > 1_000_000, 'the sender sees that the reader is slow')
    t.equal(atNear.drains, 0)
    far.resume()
    await bench.net.settled(atFar.received(count))
    t.ok(atFar.messages.every((message, index) => message[0] === patterned(1, index % 251)[0]))
    await bench.net.settled(atNear.drained())
    t.ok(near.bufferedBytes < 100_000)
  })

  await check('close sends what is queued and is heard once on both sides', async (t, bench) => {
    const { near, far } = await bench.connect()
    const atFar = new Recorder(far)
    const atNear = new Recorder(near)
    for (let index = 0; index < 20; index++) near.send(patterned(10_000, index))
    near.close('done here')
    near.close('again')
    near.send(patterned(5, 99))
    const reasons = await bench.net.settled(Promise.all([atNear.closed(), atFar.closed()]))
    t.equal(reasons[0], 'done here')
    t.ok(reasons[1].length > 0)
    t.equal(atFar.messages.length, 20, 'all of before and none of after')
    near.send(patterned(5, 99))
    far.send(patterned(5, 99))
    near.pause()
    far.resume()
    far.close('late')
    await bench.net.pass(100)
    t.equal(atNear.closedCount, 1)
    t.equal(atFar.closedCount, 1)
    t.equal(near.bufferedBytes, 0)
  })

  await check('nothing is delivered after close was called here', async (t, bench) => {
    const { near, far } = await bench.connect()
    const atFar = new Recorder(far)
    new Recorder(near)
    near.send(patterned(10, 1))
    await bench.net.settled(atFar.received(1))
    far.close('enough')
    near.send(patterned(10, 2))
    await bench.net.settled(atFar.closed())
    t.equal(atFar.messages.length, 1)
  })

  await check('what was sent before the other side took its channel over is not lost', async (t, bench) => {
    const { near, far } = await bench.connect()
    new Recorder(near)
    near.send(patterned(10, 7))
    const atFar = new Recorder(far)
    await bench.net.settled(atFar.received(1))
    t.equal(atFar.messages.length, 1)
  })

  await check('a dial that finds nobody, or is given up, rejects with DialError', async (t, bench) => {
    const { net } = bench
    const options = { keyPair: net.keyPair(2), handshakeTimeoutMs: 500 }
    await t.rejects(net.settled(net.network.dial({ ...options, address: net.nobodyAddress })), DialError)
    await t.rejects(net.settled(net.network.dial({ ...options, address: 'nonsense' })), DialError)
    await t.rejects(net.settled(net.network.dial({ ...options, address: 'ws://' })), DialError)
    const abort = new AbortController()
    const address = (await bench.listener()).address
    abort.abort()
    await t.rejects(net.settled(net.network.dial({ ...options, address, signal: abort.signal })), DialError)
    t.equal(bench.accepted.length, 0)
  })

  await check(
    'an address is taken once; a closed listener takes nobody and keeps its channels',
    async (t, bench) => {
      const { net } = bench
      const { near, far } = await bench.connect()
      const atFar = new Recorder(far)
      new Recorder(near)
      const { address } = await bench.listener()
      const port = Number(address.slice(address.lastIndexOf(':') + 1))
      const listenOptions = { host: net.host, port, keyPair: net.keyPair(3), handshakeTimeoutMs: TIMEOUT_MS }
      await t.rejects(
        net.settled(net.network.listen({ ...listenOptions, onChannel: () => undefined })),
        AddressInUseError,
      )
      await net.settled((await bench.listener()).close())
      await t.rejects(
        net.settled(net.network.dial({ address, keyPair: net.keyPair(2), handshakeTimeoutMs: 500 })),
        DialError,
      )
      near.send(patterned(10, 1))
      await net.settled(atFar.received(1))
      const second = await net.settled(net.network.listen({ ...listenOptions, onChannel: () => undefined }))
      t.equal(second.address, address, 'the port is free again')
      await net.settled(second.close())
    },
  )
}

class Bench {
  readonly accepted: Channel[] = []
  private opened: Promise<Listener> | undefined
  private waiting: ((channel: Channel) => void) | undefined
  private readonly channels: Channel[] = []

  constructor(readonly net: NetworkUnderTest) {}

  listener(): Promise<Listener> {
    this.opened ??= this.net.settled(
      this.net.network.listen({
        host: this.net.host,
        port: 0,
        keyPair: this.net.keyPair(1),
        handshakeTimeoutMs: TIMEOUT_MS,
        onChannel: (channel) => {
          this.accepted.push(channel)
          this.waiting?.(channel)
        },
      }),
    )
    return this.opened
  }

  /** `near` dialled, `far` was accepted. */
  async connect(): Promise<{ near: Channel; far: Channel }> {
    const { address } = await this.listener()
    const arrival = new Promise<Channel>((resolve) => {
      this.waiting = resolve
    })
    const dialled = this.net.network.dial({
      address,
      keyPair: this.net.keyPair(2),
      handshakeTimeoutMs: TIMEOUT_MS,
    })
    const [near, far] = await this.net.settled(Promise.all([dialled, arrival]))
    this.channels.push(near, far)
    return { near, far }
  }

  async close(): Promise<void> {
    for (const channel of this.channels) channel.close('test over')
    if (this.opened !== undefined) await this.net.settled((await this.opened).close())
    await this.net.close()
  }
}

class Recorder {
  readonly messages: Uint8Array[] = []
  drains = 0
  closedCount = 0
  closedReason: string | undefined
  private watchers: (() => void)[] = []

  constructor(channel: Channel) {
    channel.setHandler({
      message: (message) => {
        if (this.closedCount > 0) throw new Error('a message after closed')
        this.messages.push(message)
        this.wake()
      },
      drain: () => {
        this.drains += 1
        this.wake()
      },
      closed: (reason) => {
        this.closedCount += 1
        this.closedReason = reason
        this.wake()
      },
    })
  }

  async received(count: number): Promise<void> {
    await this.until(() => this.messages.length >= count)
  }

  async drained(): Promise<void> {
    await this.until(() => this.drains > 0)
  }

  async closed(): Promise<string> {
    await this.until(() => this.closedReason !== undefined)
    return this.closedReason!
  }

  private async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.watchers.push(resolve))
  }

  private wake(): void {
    const watchers = this.watchers
    this.watchers = []
    for (const watcher of watchers) watcher()
  }
}

function patterned(size: number, seed: number): Uint8Array {
  return new Uint8Array(size).map((_, index) => (index * 31 + seed) & 0xff)
}

function summary(message: Uint8Array): string {
  return `${message.length}:${Buffer.from(message.subarray(0, 16)).toString('hex')}:${message.at(-1)}`
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
