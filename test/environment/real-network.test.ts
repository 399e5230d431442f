import { createConnection, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import type { Channel, KeyPair, Listener } from '../../src/environment/environment.js'
import { keyPairFromSeed } from '../../src/environment/key-pair.js'
import { createRealCompressor } from '../../src/environment/real-compressor.js'
import { createRealNetwork, MAX_PENDING_HANDSHAKES } from '../../src/environment/real-network.js'
import { DialError, FrameError, InvalidArgumentError } from '../../src/sync/errors.js'
import { networkConformance } from './network-conformance.js'

const keyPair = (number: number): KeyPair => keyPairFromSeed(new Uint8Array(32).fill(number))
const network = createRealNetwork()

t.test('conformance', (t) =>
  networkConformance(t, () => ({
    network,
    host: '127.0.0.1',
    nobodyAddress: 'ws://127.0.0.1:1',
    keyPair,
    settled: (promise) => promise,
    pass: (ms) => sleep(ms),
    close: async () => undefined,
  })),
)

t.test('strangers on the port', async (t) => {
  const listening = async (t: Test, handshakeTimeoutMs = 300) => {
    const channels: Channel[] = []
    const listener = await network.listen({
      host: '127.0.0.1',
      port: 0,
      keyPair: keyPair(1),
      handshakeTimeoutMs,
      onChannel: (channel) => {
        channels.push(channel)
        channel.setHandler({ message: () => undefined, drain: () => undefined, closed: () => undefined })
      },
    })
    t.teardown(async () => {
      for (const channel of channels) channel.close('test over')
      await listener.close()
    })
    return { listener, channels, port: portOf(listener) }
  }

  t.test('an HTTP request is told to upgrade', async (t) => {
    const { port } = await listening(t)
    const response = await fetch(`http://127.0.0.1:${port}/status`)
    t.equal(response.status, 426)
    const other = open(port)
    other.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n')
    t.match((await other.ended).toString(), /^HTTP\/1.1 426/)
  })

  t.test('who says nothing, or stops half-way, is closed after the timeout', async (t) => {
    const { port, channels, listener } = await listening(t)
    const silent = open(port)
    const half = open(port)
    half.write('GET / HTTP/1.1\r\nHost: x\r\nConnec')
    const upgraded = new WebSocket(`ws://127.0.0.1:${port}`)
    upgraded.on('error', () => undefined)
    const upgradedClosed = new Promise((resolve) => upgraded.on('close', resolve))
    await Promise.all([silent.ended, half.ended, upgradedClosed])
    t.equal(channels.length, 0, 'none was ever seen above')
    await stillServes(t, listener)
  })

  t.test('random bytes, before and after the upgrade, close that connection and nothing else', async (t) => {
    const { port, channels, listener } = await listening(t)
    const noise = noiseSource(12345)
    const attempts: Promise<unknown>[] = []
    for (let round = 0; round < 20; round++) {
      const raw = open(port)
      raw.write(noise(1 + round * 50))
      attempts.push(raw.ended)
      attempts.push(afterUpgrade(port, (socket) => socket.send(noise(1 + round * 80))))
      attempts.push(afterUpgrade(port, (_webSocket, tcp) => tcp.write(noise(1 + round * 40))))
    }
    await Promise.all(attempts)
    t.equal(channels.length, 0)
    await stillServes(t, listener)
  })

  t.test('what is no record of the handshake ends the connection without waiting for more', async (t) => {
    const { port, channels, listener } = await listening(t, 60_000)
    const record = (length: number, body: number) =>
      Buffer.concat([Buffer.from([length & 0xff, (length >> 8) & 0xff, length >> 16]), Buffer.alloc(body, 7)])
    const cases: [string, string | Buffer][] = [
      ['text', 'text'],
      ['no room for a length', Buffer.from([1])],
      ['a length of 16 MiB', record(0xffffff, 100)],
      ['a length below what follows', record(32, 40)],
      ['no Noise message', record(32, 32)],
      ['more than a handshake needs', record(5000, 5000)],
      ['more than any message may have', Buffer.alloc(4 * 1024 * 1024)],
    ]
    for (const [name, data] of cases) {
      await afterUpgrade(port, (socket) => socket.send(data))
      t.pass(name)
    }
    t.equal(channels.length, 0)
    await stillServes(t, listener)
  })

  t.test('a flood of silent connections does not keep an honest one out', async (t) => {
    const { port, listener } = await listening(t, 60_000)
    const flood = Array.from({ length: MAX_PENDING_HANDSHAKES + 10 }, () => open(port))
    await Promise.all(flood.slice(0, 10).map((socket) => socket.ended))
    t.pass('the oldest are closed when there are too many')
    await stillServes(t, listener)
    for (const socket of flood) socket.destroy()
  })

  t.test('one address cannot connect without limit', async (t) => {
    const { port } = await listening(t)
    const results = await Promise.all(
      Array.from({ length: 200 }, async () => {
        const response = await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined)
        return response?.status
      }),
    )
    t.ok(results.filter((status) => status === 426).length >= 50)
    t.ok(results.filter((status) => status === undefined).length >= 30, 'the rest is cut off')
  })

  t.test('a tampered record after the handshake closes the channel', async (t) => {
    const { listener, channels } = await listening(t)
    const { proxyPort, tamper, close } = await tamperingProxy(portOf(listener))
    t.teardown(close)
    const channel = await network.dial({
      address: `ws://127.0.0.1:${proxyPort}`,
      keyPair: keyPair(2),
      handshakeTimeoutMs: 2000,
    })
    const closed = closedOf(channel)
    await sleep(50)
    t.equal(channels.length, 1)
    tamper()
    channel.send(new Uint8Array(100).fill(7))
    t.type(await closed, 'string')
  })
})

t.test('dialling what is no mesh server', async (t) => {
  const mute = createServer(() => undefined)
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
  t.teardown(() => mute.close())
  const address = `ws://127.0.0.1:${(mute.address() as { port: number }).port}`
  await t.rejects(network.dial({ address, keyPair: keyPair(2), handshakeTimeoutMs: 200 }), DialError)
  const abort = new AbortController()
  const dialled = network.dial({
    address,
    keyPair: keyPair(2),
    handshakeTimeoutMs: 5000,
    signal: abort.signal,
  })
  setTimeout(() => abort.abort(), 50)
  await t.rejects(dialled, DialError)
})

t.test('compressor and keys', async (t) => {
  const compressor = createRealCompressor()
  const data = new Uint8Array(100_000).fill(5)
  const small = await compressor.compress(data)
  t.ok(small.length < 1000)
  t.same(await compressor.decompress(small, data.length), Buffer.from(data))
  await t.rejects(compressor.decompress(small, data.length - 1), FrameError, 'a bomb')
  await t.rejects(compressor.decompress(small.subarray(0, 50), data.length), FrameError, 'cut short')
  await t.rejects(compressor.decompress(Buffer.concat([small, small]), 300_000), FrameError, 'more behind it')
  await t.rejects(compressor.decompress(new Uint8Array(64).fill(0xff), 300_000), FrameError, 'noise')
  await t.rejects(compressor.decompress(new Uint8Array(0), 300_000), FrameError, 'nothing')
  t.same(keyPair(3), keyPair(3))
  t.throws(() => keyPairFromSeed(new Uint8Array(31)), InvalidArgumentError)
})

function noiseSource(seed: number): (length: number) => Buffer {
  let state = seed
  const next = () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return state >> 16
  }
  return (length) => Buffer.from(Array.from({ length }, next))
}

function portOf(listener: Listener): number {
  return Number(new URL(listener.address).port)
}

function open(port: number): Socket & { ended: Promise<Buffer> } {
  const socket = createConnection(port, '127.0.0.1')
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.on('error', () => undefined)
  const ended = new Promise<Buffer>((resolve) => socket.on('close', () => resolve(Buffer.concat(chunks))))
  return Object.assign(socket, { ended })
}

function afterUpgrade(port: number, act: (webSocket: WebSocket, tcp: Socket) => void): Promise<unknown> {
  return new Promise((resolve) => {
    const webSocket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false })
    let tcp: Socket
    webSocket.on('upgrade', (response) => {
      tcp = response.socket as Socket
    })
    webSocket.on('error', () => undefined)
    webSocket.on('open', () => act(webSocket, tcp))
    webSocket.on('close', resolve)
  })
}

async function stillServes(t: Test, listener: Listener): Promise<void> {
  const channel = await network.dial({
    address: listener.address,
    keyPair: keyPair(9),
    handshakeTimeoutMs: 3000,
  })
  t.ok(channel.handshakeHash.length > 0, 'the listener goes on')
  closedOf(channel)
  channel.close('test over')
}

function closedOf(channel: Channel): Promise<string> {
  return new Promise((resolve) => {
    channel.setHandler({ message: () => undefined, drain: () => undefined, closed: resolve })
  })
}

/** Passes bytes through until told to flip one in each chunk from the dialler. */
async function tamperingProxy(targetPort: number) {
  let tampering = false
  const sockets: Socket[] = []
  const server = createServer((near) => {
    const far = createConnection(targetPort, '127.0.0.1')
    sockets.push(near, far)
    for (const socket of [near, far]) socket.on('error', () => undefined)
    near.on('data', (chunk) => {
      if (tampering) chunk[chunk.length - 5]! ^= 1
      far.write(chunk)
    })
    far.on('data', (chunk) => near.write(chunk))
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    proxyPort: (server.address() as { port: number }).port,
    tamper: () => {
      tampering = true
    },
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}
