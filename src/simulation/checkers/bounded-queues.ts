import { MAX_CHANNEL_MESSAGE_BYTES } from '../../environment/environment.js'
import type { Run } from '../run/run.js'
import type { Checker } from './checker.js'

/** What one end of a connection may have handed to its channel and not got rid of. */
const MAX_CHANNEL_BYTES = 4 * MAX_CHANNEL_MESSAGE_BYTES

/** A slow or dead peer costs bounded memory (Q1). */
export function boundedQueues(run: Run): Checker {
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
    },
  }
}
