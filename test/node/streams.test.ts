import { getEventListeners } from 'node:events'
import t from 'tap'
import { ChangeStream } from '../../src/node/change-stream.js'
import { WatchStream } from '../../src/registry/watch-stream.js'

/** The streams that a node hands out, with one way to put something in. */
const KINDS: Record<
  string,
  (signal?: AbortSignal) => { stream: AsyncIterableIterator<number>; ended: number[] }
> = {
  'of changes': (signal) => {
    const ended: number[] = []
    return {
      stream: new ChangeStream<number, number>(
        (key) => key,
        () => ended.push(1),
        signal,
      ),
      ended,
    }
  },
  'of events': (signal) => {
    const ended: number[] = []
    return { stream: new WatchStream<number>(() => ended.push(1), signal), ended }
  },
}
type Pushed = AsyncIterableIterator<number> & { push(value: number): void }

for (const [name, create] of Object.entries(KINDS)) {
  t.test(`streams ${name}: every reader that waits is answered, in order`, async (t) => {
    const stream = create().stream as Pushed
    const readers = [stream.next(), stream.next(), stream.next()]
    stream.push(1)
    stream.push(2)
    t.same(await readers[0], { done: false, value: 1 })
    t.same(await readers[1], { done: false, value: 2 })
    stream.push(3)
    t.same(await readers[2], { done: false, value: 3 })
    stream.push(4)
    t.same(await stream.next(), { done: false, value: 4 })
    const waiting = [stream.next(), stream.next()]
    await stream.return?.()
    for (const reader of waiting) t.same(await reader, { done: true, value: undefined })
  })

  t.test(`streams ${name}: an ended one leaves nothing on its signal`, async (t) => {
    const controller = new AbortController()
    const { signal } = controller
    for (let turn = 0; turn < 3; turn++) {
      const { stream, ended } = create(signal)
      t.equal(getEventListeners(signal, 'abort').length, 1)
      await stream.return?.()
      t.equal(getEventListeners(signal, 'abort').length, 0)
      t.equal(ended.length, 1)
    }
    const { stream, ended } = create(signal)
    const reader = stream.next()
    controller.abort()
    t.same(await reader, { done: true, value: undefined })
    t.equal(ended.length, 1)
    t.same(await create(signal).stream.next(), { done: true, value: undefined }, 'aborted before')
  })
}
