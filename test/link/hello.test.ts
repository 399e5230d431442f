import fc from 'fast-check'
import t from 'tap'
import type { Refusal } from '../../src/link/hello.js'
import {
  decodeHello,
  decodeHelloMessage,
  encodeHello,
  encodeHelloMessage,
  type Hello,
} from '../../src/link/hello.js'
import { type HelloEffect, HelloExchange } from '../../src/link/hello-exchange.js'
import { type HandshakeBinding, helloProof } from '../../src/link/proof.js'
import { encodeMessage } from '../../src/wire/encode.js'

const secret = new Uint8Array(32).fill(1)
const binding: HandshakeBinding = {
  handshakeHash: new Uint8Array(64).fill(2),
  initiatorPublicKey: new Uint8Array(32).fill(3),
  acceptorPublicKey: new Uint8Array(32).fill(4),
}

function hello(serverId: string, changes: Partial<Hello> = {}): Hello {
  return {
    minVersion: 1,
    maxVersion: 1,
    clusterId: 'skyblock',
    serverId,
    replicaId: `${serverId}@01`,
    instanceId: Buffer.alloc(16, serverId).toString('hex'),
    features: ['deflate', 'from-the-future'],
    listenAddress: 'ws://127.0.0.1:7001',
    ...changes,
  }
}

interface Side {
  readonly exchange: HelloExchange
  readonly outcome: HelloEffect[]
  readonly admit: (hello: Hello) => Refusal | undefined
}

function side(
  role: 'initiator' | 'acceptor',
  own: Hello,
  options: {
    secret?: Uint8Array
    binding?: HandshakeBinding
    admit?: (hello: Hello) => Refusal | undefined
  } = {},
): Side {
  const exchange = new HelloExchange(role, options.secret ?? secret, options.binding ?? binding, own)
  return { exchange, outcome: [], admit: options.admit ?? (() => undefined) }
}

/** Lets the two talk until both are silent; returns all messages with their sender. */
function converse(initiator: Side, acceptor: Side): { from: string; message: Uint8Array }[] {
  const wire: { from: string; message: Uint8Array }[] = []
  const perform = (from: Side, effects: readonly HelloEffect[]): void => {
    for (const effect of effects) {
      if (effect.do === 'send') {
        wire.push({ from: from === initiator ? 'initiator' : 'acceptor', message: effect.message })
        const to = from === initiator ? acceptor : initiator
        perform(to, to.exchange.receive(effect.message))
      } else if (effect.do === 'admit') perform(from, from.exchange.admitted(from.admit(effect.hello)))
      else from.outcome.push(effect)
    }
  }
  perform(initiator, initiator.exchange.start())
  return wire
}

t.test('two servers of one mesh get to know each other', async (t) => {
  const initiator = side('initiator', hello('a', { minVersion: 1, maxVersion: 3 }))
  const acceptor = side('acceptor', hello('b', { minVersion: 2, maxVersion: 5, listenAddress: '' }))
  const wire = converse(initiator, acceptor)
  t.same(
    wire.map(({ from, message }) => [from, decodeHelloMessage(message).kind]),
    [
      ['initiator', 'hello'],
      ['acceptor', 'hello'],
      ['initiator', 'ready'],
    ],
  )
  t.match(initiator.outcome, [{ do: 'up', version: 3, hello: { serverId: 'b', listenAddress: '' } }])
  t.match(acceptor.outcome, [
    { do: 'up', version: 3, hello: { serverId: 'a', features: ['deflate', 'from-the-future'] } },
  ])
  t.same(initiator.exchange.receive(wire[1]!.message), [], 'over')
})

t.test('every refusal has one reason, and both sides have it', async (t) => {
  const no = (reason: Refusal['reason']) => () => ({ reason, detail: `because of ${reason}` })
  const cases: [string, Side, Side, 'initiator' | 'acceptor'][] = [
    [
      'wrong-secret',
      side('initiator', hello('a'), { secret: new Uint8Array(32) }),
      side('acceptor', hello('b')),
      'acceptor',
    ],
    [
      'wrong-secret',
      side('initiator', hello('a')),
      side('acceptor', hello('b', { clusterId: 'other' }), { secret: new Uint8Array(32) }),
      'acceptor',
    ],
    [
      'wrong-cluster',
      side('initiator', hello('a')),
      side('acceptor', hello('b', { clusterId: 'other' })),
      'acceptor',
    ],
    [
      'unsupported-version',
      side('initiator', hello('a', { minVersion: 2, maxVersion: 4 })),
      side('acceptor', hello('b')),
      'acceptor',
    ],
    [
      'name-in-use',
      side('initiator', hello('a')),
      side('acceptor', hello('b'), { admit: no('name-in-use') }),
      'acceptor',
    ],
    ['self', side('initiator', hello('a')), side('acceptor', hello('a'), { admit: no('self') }), 'acceptor'],
    [
      'too-many-links',
      side('initiator', hello('a'), { admit: no('too-many-links') }),
      side('acceptor', hello('b')),
      'initiator',
    ],
    [
      'duplicate-link',
      side('initiator', hello('a'), { admit: no('duplicate-link') }),
      side('acceptor', hello('b')),
      'initiator',
    ],
    [
      'malformed-hello',
      side('initiator', hello('a', { replicaId: 'b@01' })),
      side('acceptor', hello('b')),
      'acceptor',
    ],
  ]
  for (const [reason, initiator, acceptor, refuser] of cases) {
    const wire = converse(initiator, acceptor)
    const [mine, theirs] = refuser === 'initiator' ? [initiator, acceptor] : [acceptor, initiator]
    t.match(mine.outcome, [{ do: 'refused', by: 'local', reason }], `${reason}: the refuser`)
    t.match(theirs.outcome, [{ do: 'refused', by: 'remote', reason }], `${reason}: the refused`)
    t.equal((mine.outcome[0] as Refusal).detail, (theirs.outcome[0] as Refusal).detail)
    if (reason === 'wrong-secret' || reason === 'wrong-cluster' || reason === 'unsupported-version') {
      t.equal(wire.length, 2)
      const refusal = decodeHelloMessage(wire[1]!.message)
      t.match(refusal, { kind: 'refusal', serverId: '' }, 'tells a stranger no name')
    }
  }
  const names = cases[4]![2].outcome[0] as { serverId: string }
  t.equal(names.serverId, 'a', 'who was refused is known by its proven name')
})

t.test('a proof is worth nothing anywhere else', async (t) => {
  const bytes = encodeHello(hello('a'))
  const proof = helloProof(secret, 'initiator', binding, bytes)
  const refusedWith = (acceptor: HelloExchange, given: { hello?: Uint8Array; proof?: Uint8Array } = {}) => {
    const message = encodeHelloMessage({
      kind: 'hello',
      hello: given.hello ?? bytes,
      proof: given.proof ?? proof,
    })
    const effects = acceptor.receive(message)
    return effects.find((effect) => effect.do === 'refused')?.reason
  }
  const acceptor = (changes: Partial<HandshakeBinding> = {}) =>
    new HelloExchange('acceptor', secret, { ...binding, ...changes }, hello('b'))
  t.equal(refusedWith(acceptor()), undefined, 'where it belongs it is good')
  const other = new Uint8Array(32).fill(9)
  t.equal(refusedWith(acceptor({ handshakeHash: new Uint8Array(64) })), 'wrong-secret', 'another handshake')
  t.equal(refusedWith(acceptor({ initiatorPublicKey: other })), 'wrong-secret', 'another key')
  t.equal(refusedWith(acceptor({ acceptorPublicKey: other })), 'wrong-secret', 'relayed to another server')
  t.equal(refusedWith(acceptor(), { hello: encodeHello(hello('c')) }), 'wrong-secret', 'another name')
  const reflected = new HelloExchange('initiator', secret, binding, hello('a'))
  reflected.start()
  t.equal(refusedWith(reflected), 'wrong-secret', "sent back as the receiver's own")
  t.equal(refusedWith(acceptor(), { proof: new Uint8Array(32) }), 'wrong-secret')
})

t.test('messages out of turn, nonsense, and what a stranger writes', async (t) => {
  const ready = encodeHelloMessage({ kind: 'ready' })
  const reasonOf = (effects: readonly HelloEffect[]) =>
    effects.find((effect) => effect.do === 'refused')?.reason
  const acceptor = () => new HelloExchange('acceptor', secret, binding, hello('b'))
  t.equal(reasonOf(acceptor().receive(ready)), 'malformed-hello')
  t.equal(reasonOf(acceptor().receive(new Uint8Array(5000))), 'malformed-hello')
  t.equal(reasonOf(acceptor().receive(encodeMessage([9, 'x']))), 'malformed-hello')
  t.equal(reasonOf(acceptor().abandon('hello-timeout', 'slow')), 'hello-timeout')
  const waiting = acceptor()
  const opening = encodeHelloMessage({
    kind: 'hello',
    hello: encodeHello(hello('a')),
    proof: helloProof(secret, 'initiator', binding, encodeHello(hello('a'))),
  })
  t.match(waiting.receive(opening), [{ do: 'admit' }])
  t.equal(reasonOf(waiting.receive(opening)), 'malformed-hello', 'a second hello')
  t.same(waiting.admitted(undefined), [], 'an answer that comes too late changes nothing')
  const rude = encodeMessage([2, 'wrong-cluster', '\u001b[2Jcleared\u202e', ''])
  t.match(acceptor().receive(rude), [{ reason: 'wrong-cluster', detail: '?[2Jcleared?' }])
  t.equal(reasonOf(acceptor().receive(encodeMessage([2, 'because', 'no', '']))), 'malformed-hello')
  const long = encodeHelloMessage({
    kind: 'refusal',
    reason: 'self',
    detail: '\ud800'.repeat(500),
    serverId: '',
  })
  t.match(decodeHelloMessage(long), { kind: 'refusal', detail: '?'.repeat(200) })
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const exchange = acceptor()
      exchange.receive(bytes)
      if (!exchange.over) throw new Error('nonsense accepted')
    }),
    { numRuns: 1000 },
  )
  fc.assert(
    fc.property(fc.nat({ max: opening.length - 1 }), fc.integer({ min: 1, max: 255 }), (place, change) => {
      const bytes = Uint8Array.from(opening)
      bytes[place]! ^= change
      if (
        acceptor()
          .receive(bytes)
          .some((effect) => effect.do === 'admit')
      )
        throw new Error('forged hello accepted')
    }),
    { numRuns: 1000 },
  )
})

t.test('a hello from another version', async (t) => {
  const base = ['silo-mesh', 1, 9, 'skyblock', 'a', 'a@01', new Uint8Array(16), ['x'], '']
  t.match(
    decodeHello(encodeMessage([...base, 'more', [1, 2]])),
    { serverId: 'a' },
    'further fields are ignored',
  )
  const changed = (position: number, value: string | number | string[]) => {
    const fields = [...base]
    fields[position] = value
    return encodeMessage(fields)
  }
  const bad: [string, Uint8Array][] = [
    ['magic', changed(0, 'other')],
    ['empty range', changed(2, 0)],
    ['empty cluster', changed(3, '')],
    ['name with control characters', changed(4, 'a\n')],
    ['name too long', changed(4, 'a'.repeat(65))],
    ['replica of another', changed(5, 'b@01')],
    ['instance id', changed(6, 'x')],
    ['too many features', changed(7, new Array(33).fill('x'))],
    ['empty feature', changed(7, [''])],
    ['address', changed(8, 'http://x')],
    ['address with spaces', changed(8, 'ws://a b')],
    ['address too long', changed(8, `ws://${'a'.repeat(300)}`)],
    ['too short', encodeMessage(base.slice(0, 8))],
  ]
  for (const [name, bytes] of bad) t.throws(() => decodeHello(bytes), { code: 'FRAME_MALFORMED' }, name)
})
