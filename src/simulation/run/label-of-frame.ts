import { splitBody } from '../../link/frame.js'
import { MessageType } from '../../wire/message-type.js'

const NAMES = new Map<number, string>(Object.entries(MessageType).map(([name, type]) => [type, name]))

/** Names what a channel message carries, for the space-time diagram: 'delta', 'digest, heartbeat', 'compressed'. */
export function labelOfFrame(frame: Uint8Array): string {
  if (frame[0] !== 0) return frame[0] === 1 ? 'compressed' : 'hello'
  try {
    const types = splitBody(frame.subarray(1)).map((message) => NAMES.get(typeOf(message)) ?? 'other')
    return [...new Set(types)].join(', ')
  } catch {
    return 'hello'
  }
}

/** A message is a CBOR array whose first element is a small unsigned number. */
function typeOf(message: Uint8Array): number {
  const first = message[1] ?? 0
  return first < 24 ? first : first === 24 ? (message[2] ?? 0) : 0
}
