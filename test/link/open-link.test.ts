import t from 'tap'
import { compressedFrame, encodeFrame, MAX_FRAME_BYTES } from '../../src/link/frame.js'
import { MAX_INBOUND_BYTES, MAX_MESSAGES_PER_SECOND } from '../../src/link/inbound.js'
import {
  type InboundMessage,
  type LinkDownReason,
  MAX_BULK_QUEUE_BYTES,
  MAX_CONTROL_QUEUE_BYTES,
} from '../../src/link/link.js'
import { OpenLink, SILENCE_TICK_MS, TICKS_UNTIL_CLOSED } from '../../src/link/open-link.js'
import { SLICE_BUDGET_MS, Turns } from '../../src/link/turns.js'
import { FrameError, InvalidArgumentError } from '../../src/sync/errors.js'
import { encodeMessage } from '../../src/wire/encode.js'
import { MAX_MESSAGE_BYTES } from '../../src/wire/wire-value.js'
import { channelPair, type FakeChannel, FakeWorld, fakeKeyPair } from './fake-environment.js'

class End {
  readonly link: OpenLink
  readonly received: InboundMessage[] = []
  readonly downs: LinkDownReason[] = []
  drains = 0
  /** Called with each message; what it returns tells whether the type is known. */
  onMessage: (message: InboundMessage) => boolean = () => true

  constructor(
    world: FakeWorld,
    readonly channel: FakeChannel,
    compress: boolean,
    turns: Turns,
  ) {
    this.link = new OpenLink({
      channel,
      remote: {
        serverId: 'other',
        clusterId: 'c',
        replicaId: 'other@1',
        instanceId: '00',
        features: new Set(),
        listenAddress: '',
        publicKey: channel.remotePublicKey,
        protocolVersion: 1,
        remoteAddress: 'memory',
      },
      environment: world.environment(),
      turns,
      compress,
      onDown: (_link, reason) => this.downs.push(reason),
    })
    this.link.setHandler({
      message: (message) => {
        this.received.push(message)
        return this.onMessage(message)
      },
      bulkDrained: () => {
        this.drains += 1
      },
    })
    channel.setHandler(this.link.channelHandler)
  }
}

function ends(world = new FakeWorld(), compress = false) {
  const [nearChannel, farChannel] = channelPair(world, fakeKeyPair(1), fakeKeyPair(2))
  const { clock, scheduler } = world.environment()
  const near = new End(world, nearChannel, compress, new Turns(clock, scheduler))
  const far = new End(world, farChannel, compress, new Turns(clock, scheduler))
  return { world, near, far }
}

const numbered = (number: number, padding = 0) => encodeMessage([8, number, 'x'.repeat(padding)])
const numberOf = (message: InboundMessage) => message.decode()[1] as number
const numbers = (end: End) => end.received.map(numberOf)

t.test('a lone message leaves at once, a burst leaves as one frame', async (t) => {
  const { world, near, far } = ends()
  near.link.sendControl(numbered(1))
  await Promise.resolve()
  t.equal(near.channel.sent.length, 1, 'before any timer or turn of the loop')
  for (let number = 2; number < 500; number++) near.link.sendControl(numbered(number))
  await Promise.resolve()
  t.equal(near.channel.sent.length, 2)
  await world.pass(10)
  t.same(
    numbers(far),
    Array.from({ length: 499 }, (_, index) => index + 1),
  )
  t.same(far.received[0]!.bytes, numbered(1), 'the bytes are those that were sent')
  t.match(near.link.counters, { framesOut: 2, messagesOut: 499 })
  t.match(far.link.counters, { framesIn: 2, messagesIn: 499, bytesIn: near.link.counters.bytesOut })
})

t.test('control overtakes bulk, also while bulk is compressed, and each keeps its order', async (t) => {
  const world = new FakeWorld()
  world.compressMs = 50
  const { near, far } = ends(world, true)
  for (let number = 0; number < 60; number++) t.ok(near.link.sendBulk(numbered(number, 10_000)))
  await Promise.resolve()
  near.link.sendControl(numbered(1000))
  await world.pass(10)
  t.same(numbers(far), [1000], 'control does not wait for the thread pool')
  await world.pass(5000)
  t.same(
    numbers(far).slice(1),
    Array.from({ length: 60 }, (_, index) => index),
  )
  t.ok(near.link.counters.bytesOut < 60_000, 'repetitive text shrinks')
  t.equal(near.channel.sent.filter((frame) => frame[0] === 1).length, near.link.counters.framesOut - 1)
})

t.test('without the feature, or for small or incompressible frames, nothing is compressed', async (t) => {
  const plain = ends()
  plain.near.link.sendBulk(numbered(1, 50_000))
  await plain.world.pass(10)
  t.ok(plain.near.link.counters.bytesOut > 50_000)
  const willing = ends(new FakeWorld(), true)
  willing.near.link.sendBulk(numbered(1, 3000))
  const noise = willing.world.environment().random.bytes(20_000)
  willing.near.link.sendBulk(encodeMessage([8, 2, noise]))
  await willing.world.pass(10)
  willing.near.link.sendBulk(encodeMessage([8, 3, noise]))
  await willing.world.pass(10)
  t.same(numbers(willing.far), [1, 2, 3])
  t.equal(willing.near.channel.sent.at(-1)![0], 0)
})

t.test('a full bulk queue says so, and says when it has room', async (t) => {
  const { world, near, far } = ends()
  near.channel.stalled = true
  let accepted = 0
  while (near.link.sendBulk(numbered(accepted, 50_000))) {
    accepted += 1
    await Promise.resolve()
    t.ok(near.link.bulkBufferedBytes <= MAX_BULK_QUEUE_BYTES)
  }
  t.ok(accepted > 20)
  t.ok(near.channel.bufferedBytes < 400_000, 'and little of it is in the channel, where control would wait')
  near.link.sendControl(numbered(-1))
  await Promise.resolve()
  await world.pass(100)
  t.equal(near.drains, 0)
  near.channel.unstall()
  await world.pass(100)
  t.equal(near.drains, 1)
  t.equal(near.link.bulkBufferedBytes, 0)
  const order = numbers(far)
  t.ok(order.indexOf(-1) <= 7, `control came ${order.indexOf(-1)} bulk messages late`)
  t.same(
    order.filter((number) => number >= 0),
    Array.from({ length: accepted }, (_, index) => index),
  )
})

t.test('a peer that takes no control messages loses the link, with a clear reason', async (t) => {
  const { world, near } = ends()
  near.channel.stalled = true
  const message = encodeMessage([8, new Uint8Array(100_000)])
  for (
    let sent = 0;
    sent < MAX_CONTROL_QUEUE_BYTES + 2_000_000 && !near.link.closed;
    sent += message.length
  ) {
    near.link.sendControl(message)
    t.equal(near.downs.length, 0, 'not from within the send')
    await Promise.resolve()
    await Promise.resolve()
  }
  t.match(near.downs, [{ by: 'local', reason: /control queue full/ }])
  near.link.sendControl(message)
  t.notOk(near.link.sendBulk(message))
  await world.pass(10)
  t.equal(near.downs.length, 1)
})

t.test("messages too large or empty are the caller's mistake", async (t) => {
  const { near } = ends()
  t.throws(() => near.link.sendBulk(new Uint8Array(MAX_MESSAGE_BYTES + 1)), InvalidArgumentError)
  t.throws(() => near.link.sendControl(new Uint8Array(0)), InvalidArgumentError)
  t.notOk(near.link.closed)
})

t.test('work is done in slices and the reader is paused while it is behind', async (t) => {
  const { world, near, far } = ends()
  // Every look at the clock costs, and each message is looked at twice.
  world.msPerLook = 0.1
  let largestTurn = 0
  let turnOf = -1
  let inTurn = 0
  let turn = 0
  const { scheduler } = world.environment()
  const countTurns = () => {
    turn += 1
    if (far.received.length < 300) scheduler.soon(countTurns)
  }
  scheduler.soon(countTurns)
  far.onMessage = () => {
    inTurn = turnOf === turn ? inTurn + 1 : 1
    turnOf = turn
    largestTurn = Math.max(largestTurn, inTurn)
    return true
  }
  for (let round = 0; round < 30; round++) {
    for (let number = 0; number < 10; number++) near.link.sendBulk(numbered(round * 10 + number, 20_000))
    await Promise.resolve()
    near.channel.unstall()
  }
  for (let waited = 0; far.received.length < 300 && waited < 3000; waited++) {
    t.ok(
      (far.link as unknown as { inbound: { frameBytes: number } }).inbound.frameBytes <
        MAX_INBOUND_BYTES + 700_000,
    )
    await world.pass(1)
  }
  t.same(
    numbers(far),
    Array.from({ length: 300 }, (_, index) => index),
  )
  t.ok(
    largestTurn > 1 && largestTurn <= (SLICE_BUDGET_MS / world.msPerLook) * 2,
    `${largestTurn} messages in a turn`,
  )
  t.ok(far.link.counters.pauses > 0)
  t.notOk(far.channel.paused, 'and it reads again in the end')
})

t.test('who sends faster than allowed waits, and is not cut off', async (t) => {
  const { world, near, far } = ends()
  const frame = encodeFrame(Array.from({ length: 8000 }, (_, number) => numbered(number)))
  const frames = Math.ceil((MAX_MESSAGES_PER_SECOND * 1.3) / 8000)
  for (let count = 0; count < frames; count++) near.channel.send(frame)
  await world.pass(50)
  const soon = far.received.length
  t.ok(soon >= MAX_MESSAGES_PER_SECOND && soon < MAX_MESSAGES_PER_SECOND * 1.1, `${soon} at once`)
  await world.pass(100)
  t.ok(far.received.length < soon + MAX_MESSAGES_PER_SECOND * 0.12, 'then as fast as allowed')
  await world.pass(250)
  t.equal(far.received.length, frames * 8000)
  t.notOk(far.link.closed)
})

t.test(
  'whatever breaks the protocol closes the link; before it all, after it nothing is delivered',
  async (t) => {
    const damaged = (
      await new FakeWorld().compressor.compress(encodeFrame([numbered(9)]).subarray(1))
    ).slice()
    damaged.fill(0xff, 2, 6)
    const bomb = compressedFrame(await new FakeWorld().compressor.compress(new Uint8Array(600_000)))
    const cases: [string, Uint8Array][] = [
      ['unknown flags', Uint8Array.of(0x82, 1, 0)],
      ['empty frame', new Uint8Array(0)],
      ['frame over the cap', new Uint8Array(MAX_FRAME_BYTES + 2)],
      ['random bytes', Uint8Array.of(0, 77, 13, 200, 5, 4)],
      ['no message type', encodeFrame([encodeMessage(['text'])])],
      ['a tag', encodeFrame([Uint8Array.of(0x82, 8, 0xc2, 0x41, 1)])],
      ['damaged compression', compressedFrame(damaged)],
      ['a compression bomb', bomb],
      ['malformed ping', encodeFrame([encodeMessage([0, 'x'])])],
      ['the hello again', encodeMessage([0, new Uint8Array(10), new Uint8Array(32)])],
    ]
    for (const [name, frame] of cases) {
      const { world, near, far } = ends()
      far.onMessage = (message) => {
        message.decode()
        return true
      }
      near.channel.send(encodeFrame([numbered(1), numbered(2)]))
      near.channel.send(frame)
      near.channel.send(encodeFrame([numbered(3)]))
      await world.pass(50)
      const delivered = far.received.filter((message) => message.bytes.length !== 5).map(numberOf)
      t.same(
        delivered.filter((value) => typeof value === 'number'),
        [1, 2],
        `${name}: what came before`,
      )
      t.equal(far.downs.length, 1, `${name}: closed`)
      t.ok(far.downs[0]!.error instanceof FrameError && far.downs[0]!.by === 'local', name)
      t.match(near.downs, [{ by: 'remote', reason: /protocol broken/ }], `${name}: the other side knows why`)
    }
  },
)

t.test('unknown types are counted and ignored', async (t) => {
  const { world, near, far } = ends()
  far.onMessage = (message) => message.type === 8
  near.link.sendControl(encodeMessage([200, 'from a newer version']))
  near.link.sendControl(encodeMessage([7]))
  near.link.sendControl(numbered(1))
  await world.pass(10)
  t.equal(far.link.counters.unknownMessagesIn, 2)
  t.same(
    far.received.map((message) => message.type),
    [200, 8],
  )
  t.notOk(far.link.closed)
})

t.test('a defect in the owner closes the link and is not hidden', async (t) => {
  const { world, near, far } = ends()
  far.onMessage = () => {
    throw new TypeError('defect')
  }
  near.link.sendControl(numbered(1))
  near.link.sendControl(numbered(2))
  await t.rejects(world.pass(10), TypeError)
  await world.pass(10)
  t.match(far.downs, [{ by: 'local', reason: 'internal error' }])
  t.equal(far.received.length, 1)
})

t.test('close sends what is queued, then says why; down is reported once', async (t) => {
  const world = new FakeWorld()
  world.compressMs = 50
  const { near, far } = ends(world, true)
  for (let number = 0; number < 20; number++) near.link.sendBulk(numbered(number, 20_000))
  near.link.sendControl(numbered(99))
  await Promise.resolve()
  near.link.sendControl(numbered(100))
  near.link.close('going home')
  near.link.close('twice')
  await world.pass(500)
  t.same(numbers(far), [99, 100, ...Array.from({ length: 20 }, (_, index) => index)])
  t.same(near.downs, [{ reason: 'going home', by: 'local' }])
  t.same(far.downs, [{ reason: 'going home', by: 'remote' }])
  t.ok(near.channel.isClosed && far.channel.isClosed)
  const broken = ends()
  broken.near.channel.break()
  await broken.world.pass(1)
  t.match(broken.near.downs, [{ by: 'transport', reason: 'connection lost' }])
  t.match(broken.far.downs, [{ by: 'transport' }])
})

t.test('signs of life', async (t) => {
  const { world, near } = ends()
  const alive = near.link.probe(1000)
  await world.pass(10)
  t.equal(await alive, true)
  await world.pass(SILENCE_TICK_MS * TICKS_UNTIL_CLOSED * 3)
  t.notOk(near.link.closed, 'quiet links are asked, and answer')
  near.channel.peer.dead = true
  const lost = near.link.probe(1000)
  await world.pass(1001)
  t.equal(await lost, false)
  await world.pass(SILENCE_TICK_MS * (TICKS_UNTIL_CLOSED - 1) - 2000)
  t.notOk(near.link.closed)
  await world.pass(SILENCE_TICK_MS * 2)
  t.match(near.downs, [{ by: 'local', reason: /not a word/ }])
  t.equal(await near.link.probe(1000), false)
})

t.test('a process that stood still does not blame its peers', async (t) => {
  const { world, near } = ends()
  world.nowMs += 10 * 60_000
  await world.pass(SILENCE_TICK_MS * 2 + 100)
  t.notOk(near.link.closed)
})
