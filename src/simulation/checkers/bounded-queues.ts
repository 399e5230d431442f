import { MAX_CHANNEL_MESSAGE_BYTES } from '../../environment/environment.js'
import { MAX_BULK_QUEUE_BYTES } from '../../link/link.js'
import { Outbound } from '../../link/outbound.js'
import type { Run } from '../run/run.js'
import type { Checker } from './checker.js'

/** What one end of a connection may have handed to its channel and not got rid of; most of it when closing. */
const MAX_CHANNEL_BYTES = 8 * MAX_CHANNEL_MESSAGE_BYTES
/** Events waiting in the kernel for one server: timers, messages, disk operations. */
const MAX_EVENTS_PER_SERVER = 20_000

/** A slow or dead peer costs bounded memory (Q1). */
export function boundedQueues(run: Run): Checker {
  const outbounds = new Set<Outbound>()
  run.override(Outbound.prototype, 'flush', (original) => {
    return function (this: Outbound) {
      outbounds.add(this)
      original.call(this)
    }
  })
  run.override(Outbound.prototype, 'discard', (original) => {
    return function (this: Outbound) {
      outbounds.delete(this)
      original.call(this)
    }
  })
  return {
    invariants: ['Q1'],
    observe() {
      for (const channel of run.cluster.network.channels()) {
        if (channel.bufferedBytes > MAX_CHANNEL_BYTES) {
          run.fail(
            'Q1',
            `a channel to ${channel.remoteAddress} holds ${channel.bufferedBytes} bytes`,
            channel.server,
          )
        }
      }
      for (const { bulkBufferedBytes } of outbounds) {
        if (bulkBufferedBytes > MAX_BULK_QUEUE_BYTES) {
          run.fail('Q1', `a link has ${bulkBufferedBytes} bytes of bulk waiting`, undefined)
        }
      }
      const waiting = run.cluster.kernel.waiting
      if (waiting > run.plannedEvents + MAX_EVENTS_PER_SERVER * run.cluster.servers.length) {
        run.fail('Q1', `${waiting} events wait in the kernel`, undefined)
      }
    },
  }
}
