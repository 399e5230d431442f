import { type Run, textOf } from '../run/run.js'
import { hasCode } from './counters.js'
import type { Workload } from './workload.js'

const REFUSALS = new Set(['NOT_RUNNING', 'DISK_FULL', 'JOURNAL_FAILED', 'OVERLOADED'])
const EVENTS_PER_SECOND = 2
/** Small values that many servers set. */
const STATE_KEYS = 3

/** Published events, and small shared values that servers overwrite. */
export const events: Workload = {
  name: 'events',
  begin(run) {
    const random = run.cluster.kernel.random.fork('workload-events')
    const { safetyMs } = run.options
    const count = Math.ceil((EVENTS_PER_SECOND * safetyMs) / 1000)
    for (let number = 0; number < count; number++) {
      const draw = random.fork(number)
      const server = draw.pick(run.cluster.servers)
      const key = draw.chance(0.5) ? `key-${draw.integer(0, STATE_KEYS - 1)}` : undefined
      run.cluster.after(draw.uniform() * safetyMs, () => {
        if (key === undefined) publish(run, server.number, `event-${number}`)
        else setState(run, server.number, key, draw.bytes(8))
      })
    }
  },
}

function publish(run: Run, number: number, entityId: string): void {
  const server = run.cluster.servers[number]!
  run.cluster.within(server, (node) => {
    try {
      const { event, receipt } = node.publish({
        type: 'STORAGE_SYNC_FULL',
        entityType: 'simulated',
        entityId,
      })
      // An event is an operation like any other; it counts for nothing in any storage.
      const entry = run.ledger.record({
        kind: 'deposit',
        storage: '',
        item: entityId,
        amount: 0n,
        server: number,
        atUs: run.nowUs,
      })
      run.published.push({ eventId: event.eventId, origin: number, publishedUs: run.nowUs, entry })
      run.ask(server, `publish ${entityId}`, receipt.durable, (error) => {
        if (error === undefined) entry.durableUs = run.nowUs
        else if (!hasCode(error, REFUSALS)) run.fail('O2', `publish: ${textOf(error)}`, number)
      })
    } catch (error) {
      if (!hasCode(error, REFUSALS)) run.fail('O2', `publish refused: ${textOf(error)}`, number)
    }
  })
}

function setState(run: Run, number: number, key: string, value: Uint8Array): void {
  const server = run.cluster.servers[number]!
  run.cluster.within(server, (node) => {
    try {
      const receipt = node.setState(key, value)
      run.ask(server, `set ${key}`, receipt.durable, (error) => {
        if (error !== undefined && !hasCode(error, REFUSALS)) run.fail('O2', `set: ${textOf(error)}`, number)
      })
      const found = node.getState(key)
      if (found === undefined || found.join() !== value.join()) {
        run.fail('R1', `${server.name} does not see the value that it has just set`, number)
      }
    } catch (error) {
      if (!hasCode(error, REFUSALS)) run.fail('O2', `set refused: ${textOf(error)}`, number)
    }
  })
}
