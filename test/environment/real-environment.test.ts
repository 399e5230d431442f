import t from 'tap'
import { createRealEnvironment } from '../../src/environment/real-environment.js'

t.test('the real environment', async (t) => {
  const { clock, random, scheduler } = createRealEnvironment()
  // Timers don't keep a process alive, and this test has nothing else that would.
  const keepAlive = setInterval(() => undefined, 1000)
  t.teardown(() => clearInterval(keepAlive))

  t.test('timers never run early, cancelled ones never at all', async (t) => {
    for (const delayMs of [0, 1, 2.5, 5, 10, 20]) {
      const startMs = clock.monotonicMs()
      await new Promise<void>((resolve) => scheduler.after(delayMs, resolve))
      t.ok(clock.monotonicMs() - startMs >= delayMs, `${delayMs} ms`)
    }
    let ran = 0
    const cancelled = scheduler.after(1, () => {
      ran += 1
    })
    cancelled.cancel()
    cancelled.cancel()
    const far = scheduler.after(2 ** 40, () => {
      ran += 1
    })
    await new Promise<void>((resolve) => scheduler.after(20, resolve))
    far.cancel()
    t.equal(ran, 0, 'nor one that is due in 30 years')
  })

  t.test('soon is a later turn, after promise jobs', async (t) => {
    const order: string[] = []
    await new Promise<void>((resolve) => {
      scheduler.soon(() => {
        order.push('soon')
        resolve()
      })
      queueMicrotask(() => order.push('microtask'))
      order.push('now')
    })
    t.same(order, ['now', 'microtask', 'soon'])
  })

  t.test('clocks and randomness', async (t) => {
    t.ok(Math.abs(clock.wallMs() - Date.now()) < 1000)
    t.not(Buffer.from(random.bytes(16)).toString('hex'), Buffer.from(random.bytes(16)).toString('hex'))
    t.equal(random.bytes(5).length, 5)
    const draws = Array.from({ length: 100 }, () => random.uniform())
    t.ok(draws.every((draw) => draw >= 0 && draw < 1) && new Set(draws).size > 90)
  })
})
