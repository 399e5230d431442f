import t from 'tap'
import type { Channel, Environment } from '../../src/environment/environment.js'
import { DEFAULT_DISK_PROFILE } from '../../src/simulation/disk/store.js'
import { Kernel } from '../../src/simulation/kernel/kernel.js'
import { Machine } from '../../src/simulation/machine.js'
import {
  DEFAULT_PROFILE,
  NetworkConditions,
  type NetworkProfile,
} from '../../src/simulation/network/conditions.js'
import { VirtualNetwork } from '../../src/simulation/network/network.js'
import { AddressInUseError, DialError } from '../../src/sync/errors.js'
import { networkConformance } from '../environment/network-conformance.js'

const KEYS = [1, 2].map((byte) => ({
  publicKey: new Uint8Array(32).fill(byte),
  secretKey: new Uint8Array(64).fill(byte),
}))
const SECOND_US = 1_000_000

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** Records what one end of a channel is told, with the virtual time in milliseconds. */
class Ear {
  readonly heard: string[] = []
  readonly times: number[] = []
  constructor(
    readonly kernel: Kernel,
    readonly channel: Channel,
  ) {
    channel.setHandler({
      message: (message) => this.#note(new TextDecoder().decode(message)),
      drain: () => this.#note('<drain>'),
      closed: (reason) => this.#note(`<closed: ${reason}>`),
    })
  }
  #note(text: string): void {
    this.heard.push(text)
    this.times.push(this.kernel.nowUs / 1000)
  }
}

class Bench {
  readonly kernel: Kernel
  readonly conditions: NetworkConditions
  readonly network: VirtualNetwork
  readonly machines: Machine[]
  readonly environments: Environment[]
  accepted: Channel[] = []

  constructor(profile: Partial<NetworkProfile> = {}, seed = 1) {
    this.kernel = new Kernel({ seed })
    this.conditions = new NetworkConditions(
      { ...DEFAULT_PROFILE, ...profile },
      this.kernel.random.fork('net'),
    )
    this.network = new VirtualNetwork(this.kernel, this.conditions)
    this.machines = [0, 1].map(
      (server) =>
        new Machine(this.kernel, this.network, {
          server,
          disk: DEFAULT_DISK_PROFILE,
          clockRate: 1,
          wallOffsetMs: 0,
        }),
    )
    this.environments = this.machines.map((machine) => machine.start().environment)
  }

  async pass(ms: number): Promise<void> {
    await this.kernel.run(this.kernel.nowUs + ms * 1000)
  }

  /** Runs until the promise has settled. */
  async outcome<T>(promise: Promise<T>, withinMs = 60_000): Promise<T> {
    let settled = false
    const settle = () => {
      settled = true
    }
    promise.then(settle, settle)
    for (let waited = 0; !settled && waited < withinMs; waited += 10) await this.pass(10)
    if (!settled) throw new Error('nothing came of it')
    return promise
  }

  listen(port = 7000, server = 1) {
    return this.outcome(
      this.environments[server]!.network.listen({
        host: `server-${server}`,
        port,
        keyPair: KEYS[server]!,
        handshakeTimeoutMs: 5_000,
        onChannel: (channel) => this.accepted.push(channel),
      }),
    )
  }

  dial(address = 'ws://server-1:7000', signal?: AbortSignal) {
    return this.environments[0]!.network.dial({
      address,
      keyPair: KEYS[0]!,
      handshakeTimeoutMs: 5_000,
      ...(signal ? { signal } : {}),
    })
  }

  async connected() {
    await this.listen()
    const channel = await this.outcome(this.dial())
    const far = this.accepted.pop()!
    return { near: new Ear(this.kernel, channel), far: new Ear(this.kernel, far) }
  }
}

t.test('conformance', (t) =>
  networkConformance(t, () => {
    const bench = new Bench()
    return {
      network: bench.environments[0]!.network,
      host: 'server-0',
      nobodyAddress: 'ws://server-0:1',
      keyPair: (number) => bench.environments[0]!.network.keyPair(new Uint8Array(32).fill(number)),
      settled: (promise) => bench.outcome(promise),
      pass: (ms) => bench.pass(ms),
      close: async () => undefined,
    }
  }),
)

t.test('a channel carries messages in order, and both ends agree on who and what', async (t) => {
  const bench = new Bench()
  const { near, far } = await bench.connected()
  t.same(near.channel.handshakeHash, far.channel.handshakeHash)
  t.equal(near.channel.handshakeHash.length, 32)
  t.same(near.channel.remotePublicKey, KEYS[1]!.publicKey)
  t.same(far.channel.remotePublicKey, KEYS[0]!.publicKey)
  t.ok(near.channel.initiator && !far.channel.initiator)
  const sent = Array.from({ length: 200 }, (_, number) => `message ${number}`)
  for (const text of sent) near.channel.send(bytes(text))
  far.channel.send(bytes('back'))
  await bench.pass(2_000)
  t.same(far.heard, sent)
  t.same(near.heard, ['back'])
  near.channel.send(bytes('last words'))
  near.channel.close('done')
  near.channel.close('again')
  near.channel.send(bytes('not sent'))
  await bench.pass(2_000)
  t.same(near.heard, ['back', '<closed: done>'])
  t.same(far.heard.slice(-2), ['last words', '<closed: closed by the other side>'])
  t.equal(bench.network.connectionCount, 0)
  t.throws(() => far.channel.send(new Uint8Array(2_000_000)), /exceeds/)
})

t.test('addresses: in use, free ports, refused, aborted', async (t) => {
  const bench = new Bench()
  const listener = await bench.listen()
  t.equal(listener.address, 'ws://server-1:7000')
  await t.rejects(bench.listen(), AddressInUseError)
  const free = await bench.listen(0)
  t.match(free.address, /^ws:\/\/server-1:4\d+$/)
  await t.rejects(bench.outcome(bench.dial('ws://nobody:1')), DialError)
  const abort = new AbortController()
  const dialing = bench.dial('ws://server-1:7000', abort.signal)
  abort.abort()
  await t.rejects(bench.outcome(dialing), /aborted/)
  await bench.outcome(listener.close())
  await t.rejects(bench.outcome(bench.dial()), /refused/)
})

t.test('a slow link fills the sender, a paused reader stops it, both drain', async (t) => {
  const bench = new Bench({ bandwidthBytesPerUs: 0.1 })
  const { near, far } = await bench.connected()
  const message = new Uint8Array(100_000)
  for (let count = 0; count < 10; count++) near.channel.send(message)
  t.ok(near.channel.bufferedBytes > 800_000)
  await bench.pass(5_000)
  const arrived = far.heard.length
  t.ok(arrived >= 4 && arrived <= 5, `100 kB a second: ${arrived} of 10 after 5 s`)
  far.channel.pause()
  await bench.pass(60_000)
  t.equal(far.heard.length, arrived, 'nothing while paused')
  t.ok(near.channel.bufferedBytes > 0, 'and the sender knows')
  far.channel.resume()
  await bench.pass(60_000)
  t.equal(far.heard.length, 10)
  t.equal(near.channel.bufferedBytes, 0)
  t.same(near.heard, ['<drain>'])
})

t.test('a cut holds messages back; healed in time they arrive, else the sender gives up', async (t) => {
  const bench = new Bench({ unacknowledgedTimeoutUs: 10 * SECOND_US })
  const { near, far } = await bench.connected()
  bench.conditions.cut(0, 1)
  near.channel.send(bytes('one'))
  near.channel.send(bytes('two'))
  far.channel.send(bytes('the other direction passes'))
  await bench.pass(5_000)
  t.same(far.heard, [])
  t.same(near.heard, ['the other direction passes'])
  bench.conditions.heal(0, 1)
  near.channel.send(bytes('three'))
  await bench.pass(3_000)
  t.same(far.heard, ['one', 'two', 'three'])

  bench.conditions.cut(1, 0)
  near.channel.send(bytes('arrives, but no acknowledgement comes back'))
  await bench.pass(20_000)
  t.equal(far.heard[3], 'arrives, but no acknowledgement comes back')
  t.equal(near.heard.at(-1), '<closed: connection timed out>', 'the sender cannot know')
  t.equal(far.heard.at(-1), '<closed: connection reset>')
  await t.rejects(bench.outcome(bench.dial()), /timed out/, 'and no new connection while it lasts')
})

t.test('connections break in all the ways they do', async (t) => {
  for (const how of ['reset', 'half-open', 'silent'] as const) {
    const bench = new Bench({ unacknowledgedTimeoutUs: 10 * SECOND_US })
    const { near, far } = await bench.connected()
    near.channel.send(bytes('on the way'))
    bench.network.breakConnections(0, 1, how)
    await bench.pass(30_000)
    if (how === 'silent') t.same(near.heard, ['<closed: connection timed out>'], how)
    else t.same(near.heard, ['<closed: connection reset>'], how)
    if (how === 'reset') t.same(far.heard, ['on the way', '<closed: connection reset>'])
    else t.same(far.heard, [], `${how}: the other side knows nothing`)
    if (how === 'reset') continue
    far.channel.send(bytes('anybody there'))
    await bench.pass(30_000)
    t.match(far.heard[0], how === 'silent' ? /timed out/ : /reset/)
  }
})

t.test('killed, powered off, frozen: what the other side sees', async (t) => {
  const killed = new Bench()
  const first = await killed.connected()
  killed.machines[1]!.kill()
  await killed.pass(1_000)
  t.same(first.near.heard, ['<closed: connection reset>'], 'the system of a killed process tells')
  t.same(first.far.heard, [], 'a dead process is told nothing')
  await t.rejects(killed.outcome(killed.dial()), /refused/)

  const off = new Bench({ unacknowledgedTimeoutUs: 10 * SECOND_US })
  const second = await off.connected()
  off.machines[1]!.losePower()
  await off.pass(60_000)
  t.same(second.near.heard, [], 'a machine without power is only silent')
  await t.rejects(off.outcome(off.dial()), /timed out/)
  second.near.channel.send(bytes('still there'))
  await off.pass(5_000)
  off.machines[1]!.start()
  await off.pass(5_000)
  t.same(second.near.heard, ['<closed: connection reset>'], 'back on, it knows nothing of the connection')

  const frozen = new Bench()
  const third = await frozen.connected()
  frozen.machines[1]!.process!.blockUntil(frozen.kernel.nowUs + 5 * SECOND_US)
  third.near.channel.send(bytes('hello'))
  for (let count = 0; count < 20; count++) third.near.channel.send(new Uint8Array(100_000))
  await frozen.pass(4_000)
  t.same(third.far.heard, [])
  t.ok(third.near.channel.bufferedBytes > 0, 'its buffers fill')
  await frozen.pass(2_000)
  t.equal(third.far.heard.length, 21)
  t.ok(third.far.times[0]! >= 5_000)
})

t.test('a message that its sender writes to afterwards is found out', async (t) => {
  const bench = new Bench()
  const { near } = await bench.connected()
  const message = bytes('reused buffer')
  near.channel.send(message)
  message[0] = 0
  await t.rejects(bench.pass(1_000), /written to after/)
})

t.test('equal seeds, equal histories; another seed, another one', async (t) => {
  const history = async (seed: number) => {
    const bench = new Bench({}, seed)
    const { near, far } = await bench.connected()
    for (let count = 0; count < 50; count++) near.channel.send(bytes(`${count}`))
    await bench.pass(1_000)
    return `${bench.kernel.hash.digest()} ${far.times.at(-1)}`
  }
  t.equal(await history(5), await history(5))
  t.not(await history(5), await history(6))
})
