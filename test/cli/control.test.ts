import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { ControlClient } from '../../src/cli/control-client.js'
import type { ControlMethods } from '../../src/cli/control-methods.js'
import { MAX_REPLY_BYTES, MAX_REQUEST_BYTES } from '../../src/cli/control-protocol.js'
import { MAX_STREAMS, serveControl } from '../../src/cli/control-server.js'
import { createRealEnvironment } from '../../src/environment/real-environment.js'
import { InsufficientQuantityError } from '../../src/sync/errors.js'
import { silentLogger } from '../../src/sync/logger.js'
import { temporaryDirectory } from './harness.js'

const { scheduler } = createRealEnvironment()

/** Streams that are open; they end when they are told to. */
const open = new Set<AbortSignal>()

const methods: ControlMethods = {
  calls: {
    echo: async (params) => ({ params: params as object as never }),
    poor: async () => {
      throw new InsufficientQuantityError(2n, 1n, 'a:b')
    },
    broken: async () => {
      throw new TypeError('x is not a function')
    },
    huge: async () => 'x'.repeat(MAX_REPLY_BYTES),
  },
  streams: {
    count: async (params, send) => {
      for (let value = 1; value <= Number((params as { to: number }).to); value++) await send({ value })
    },
    forever: async (_params, send, signal) => {
      open.add(signal)
      await send('begun')
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
      open.delete(signal)
    },
  },
}

async function serve(t: Test, under = '') {
  const directory = (await temporaryDirectory(t)) + under
  await mkdir(directory, { recursive: true })
  const control = await serveControl(directory, methods, silentLogger)
  t.teardown(() => control.close())
  return { directory, control }
}

/** A program that writes whatever it likes. */
class Stranger {
  readonly socket: Socket
  private readonly lines: AsyncIterator<string>

  constructor(path: string) {
    this.socket = connect(path)
    this.socket.on('error', () => undefined)
    this.lines = createInterface(this.socket)[Symbol.asyncIterator]()
  }

  say(text: string): void {
    this.socket.write(text)
  }

  /** Undefined: the connection has ended. */
  async hear(): Promise<
    { id: number | null; result?: unknown; item?: unknown; error?: { code: string } } | undefined
  > {
    const { value, done } = await this.lines.next()
    return done ? undefined : JSON.parse(value)
  }
}

function stranger(t: Test, path: string): Stranger {
  const made = new Stranger(path)
  t.teardown(() => made.socket.destroy())
  return made
}

t.test('calls and streams are answered under their ids', async (t) => {
  const { directory } = await serve(t)
  using client = await ControlClient.connect(directory, scheduler)
  t.strictSame(await client.call('echo', { a: 1 }), { params: { a: 1 } })
  const values: unknown[] = []
  for await (const item of client.stream('count', { to: 1_000 })) values.push(item)
  t.equal(values.length, 1_000)
  t.strictSame(values.at(-1), { value: 1_000 })
  await t.rejects(client.call('poor'), { code: 'INSUFFICIENT_QUANTITY', retryable: true, message: /only 1/ })
  await t.rejects(client.call('broken'), { code: 'DEFECT', message: 'x is not a function' })
  await t.rejects(client.call('huge'), { code: 'OVERLOADED' })
  await t.rejects(client.call('toString'), { code: 'UNKNOWN_METHOD' }, 'what every object has is no method')
  t.strictSame(await client.call('echo'), { params: {} }, 'and it goes on')
})

t.test('lines that cannot be read are refused, and the connection lives on', async (t) => {
  const { control } = await serve(t)
  const other = stranger(t, control.path)
  const bad = [
    'nonsense',
    '[]',
    'null',
    '{}',
    '{"id":"1","method":"echo"}',
    '{"id":-1,"method":"echo"}',
    '\u0000\u0001',
  ]
  for (const line of [
    ...bad,
    '{"id":1}',
    '{"id":1,"method":5}',
    '{"id":1,"method":"echo","params":[]}',
    '{"id":1,"method":"echo","more":1}',
  ]) {
    other.say(`${line}\n`)
    t.match(await other.hear(), { id: null, error: { code: 'CONTROL_PROTOCOL' } }, line)
  }
  other.say('\n  \n{"id":7,"method":"nonsense"}\n')
  t.match(await other.hear(), { id: 7, error: { code: 'UNKNOWN_METHOD' } })
  other.say('{"id":8,"method":"echo"')
  other.say(',"params":{"text":"gr\u00fc\u00df"}}\n')
  t.match(
    await other.hear(),
    { id: 8, result: { params: { text: 'gr\u00fc\u00df' } } },
    'a line may come in pieces',
  )
})

t.test('a line without an end is not collected for ever', async (t) => {
  const { control, directory } = await serve(t)
  const other = stranger(t, control.path)
  other.say('x'.repeat(MAX_REQUEST_BYTES + 1))
  t.match(await other.hear(), { id: null, error: { code: 'CONTROL_PROTOCOL' } })
  t.equal(await other.hear(), undefined, 'closed')
  const long = stranger(t, control.path)
  long.say(`${JSON.stringify({ id: 1, method: 'echo', params: { text: 'x'.repeat(MAX_REQUEST_BYTES) } })}\n`)
  t.match(await long.hear(), { id: null, error: { code: 'CONTROL_PROTOCOL' } })
  using client = await ControlClient.connect(directory, scheduler)
  t.ok(await client.call('echo'), 'others are served')
})

t.test('a stream ends by cancel, by the end of its connection, and there are not too many', async (t) => {
  const { control } = await serve(t)
  const other = stranger(t, control.path)
  for (let id = 1; id <= MAX_STREAMS; id++) {
    other.say(`{"id":${id},"method":"forever"}\n`)
    t.match(await other.hear(), { id, item: 'begun' })
  }
  other.say('{"id":100,"method":"forever"}\n')
  t.match(await other.hear(), { id: 100, error: { code: 'OVERLOADED' } })
  other.say('{"id":1,"method":"forever"}\n')
  t.match(await other.hear(), { id: 1, error: { code: 'CONTROL_PROTOCOL' } }, 'an id is one stream')
  other.say('{"id":101,"method":"cancel","params":{"id":1}}\n')
  const ends = [await other.hear(), await other.hear()]
  t.strictSame(new Set(ends.map((end) => end?.id)), new Set([1, 101]))
  t.equal(open.size, MAX_STREAMS - 1)
  const signals = [...open]
  other.socket.destroy()
  await Promise.all(signals.map((signal) => signal.aborted || once(signal, 'abort')))
  t.pass('a program that dies leaves no stream behind')
})

t.test('a script may close its side and still read the answers', async (t) => {
  const { control } = await serve(t)
  const script = `
    const socket = require('node:net').connect({ path: process.argv[1], allowHalfOpen: true })
    socket.end('{"id":1,"method":"echo"}\\n{"id":2,"method":"echo"}\\n')
    socket.pipe(process.stdout)`
  const { spawn } = await import('node:child_process')
  const child = spawn(process.execPath, ['-e', script, control.path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.on('data', (chunk) => {
    text += chunk
  })
  await once(child, 'close')
  t.strictSame(
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).id),
    [1, 2],
  )
})

t.test("the socket is its owner's alone, and gone when closed", async (t) => {
  const { directory, control } = await serve(t)
  t.equal(control.path, `${directory}/control.sock`)
  t.equal(statSync(control.path).mode & 0o777, 0o600)
  await control.close()
  t.notOk(existsSync(control.path))
  await t.rejects(ControlClient.connect(directory, scheduler), { code: 'NO_NODE' })
})

t.test('a path too long for a socket is led around', async (t) => {
  const { directory, control } = await serve(t, `/${'long-name/'.repeat(12)}end`)
  t.ok(control.path.length < 104)
  t.equal(statSync(control.path).mode & 0o777, 0o600)
  t.equal(statSync(`${directory}/control.path`).mode & 0o777, 0o600)
  using client = await ControlClient.connect(directory, scheduler)
  t.ok(await client.call('echo'))
  await control.close()
  t.notOk(existsSync(control.path))
  t.notOk(existsSync(`${directory}/control.path`))
})

t.test("what a killed process left is no node, and in nobody's way", async (t) => {
  const directory = await temporaryDirectory(t)
  const leave =
    "require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))"
  spawnSync(process.execPath, ['-e', leave, `${directory}/control.sock`])
  t.ok(existsSync(`${directory}/control.sock`), 'a socket file without anybody behind it')
  await t.rejects(ControlClient.connect(directory, scheduler), { code: 'NO_NODE', message: /silo-mesh join/ })
  const control = await serveControl(directory, methods, silentLogger)
  t.teardown(() => control.close())
  using client = await ControlClient.connect(directory, scheduler)
  t.ok(await client.call('echo'))
})

t.test('a node that goes away while it is asked is reported', async (t) => {
  const { directory, control } = await serve(t)
  using client = await ControlClient.connect(directory, scheduler)
  const items: unknown[] = []
  const reading = (async () => {
    for await (const item of client.follow('forever', {}, new AbortController().signal)) {
      items.push(item)
      await control.close()
    }
  })()
  await t.rejects(reading, { code: 'NO_NODE' })
  t.strictSame(items, ['begun'])
})
