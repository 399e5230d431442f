import t from 'tap'
import { EventQueue } from '../../src/link/event-queue.js'

t.test('events come in order, and never within the call that causes them', async (t) => {
  const queue = new EventQueue()
  const order: number[] = []
  queue.push(() => {
    order.push(1)
    queue.push(() => order.push(3))
    t.same(order, [1])
  })
  queue.push(() => order.push(2))
  t.same(order, [], 'not yet')
  await Promise.resolve()
  await Promise.resolve()
  t.same(order, [1, 2, 3])
})

t.test('a defect in one stays visible and does not swallow the others', async (t) => {
  const queue = new EventQueue()
  const order: number[] = []
  const thrown = new Promise<Error>((resolve) => process.once('uncaughtException', resolve))
  queue.push(() => {
    queue.push(() => order.push(3))
    throw new TypeError('defect')
  })
  queue.push(() => order.push(2))
  t.match(await thrown, { message: 'defect' })
  await new Promise((resolve) => setImmediate(resolve))
  t.same(order, [2, 3])
})
