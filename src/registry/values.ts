import type { Operation } from '../raft/state-machine/commands.js'
import { encodeMessage } from '../wire/encode.js'
import type { WireValue } from '../wire/wire-value.js'

/** For keys whose being there says it all. */
export const NO_VALUE = new Uint8Array(0)

export function text(value: Uint8Array): string {
  return new TextDecoder().decode(value)
}

export function put(key: string, value: Uint8Array): Operation {
  return { kind: 'put', key, value, lease: 0 }
}

export function putText(key: string, value: string): Operation {
  return put(key, new TextEncoder().encode(value))
}

export function remove(key: string): Operation {
  return { kind: 'delete', key }
}

export function sameWire(left: WireValue, right: WireValue): boolean {
  return Buffer.from(encodeMessage([left])).equals(encodeMessage([right]))
}
