import type { BreakKind } from '../network/network.js'

interface At {
  /** Its number in the whole list: its own random stream hangs on it, so that leaving others out changes nothing. */
  readonly id: number
  /** Virtual milliseconds since the safety phase began. */
  readonly atMs: number
}

/**
 * One thing that goes wrong, as data. Each ends by itself after `forMs`, so that every subset of a schedule
 * is a schedule. Servers are named by number; a fault that cannot happen any more (a server that is down
 * cannot crash) does nothing.
 */
export type Fault = At &
  (
    | { readonly kind: 'crash'; readonly server: number; readonly power: boolean; readonly forMs: number }
    | { readonly kind: 'stop'; readonly server: number; readonly forMs: number }
    | { readonly kind: 'freeze'; readonly server: number; readonly forMs: number }
    | {
        readonly kind: 'lag'
        readonly server: number
        readonly stallMs: number
        readonly everyMs: number
        readonly forMs: number
      }
    | {
        readonly kind: 'partition'
        readonly servers: readonly number[]
        /** Which packets are lost, seen from `servers`. */
        readonly direction: 'both' | 'in' | 'out'
        readonly forMs: number
      }
    | { readonly kind: 'break'; readonly one: number; readonly other: number; readonly how: BreakKind }
    | {
        readonly kind: 'slow-link'
        readonly one: number
        readonly other: number
        readonly factor: number
        readonly forMs: number
      }
    | { readonly kind: 'clock-jump'; readonly server: number; readonly byMs: number }
    | { readonly kind: 'slow-disk'; readonly server: number; readonly factor: number; readonly forMs: number }
    | { readonly kind: 'full-disk'; readonly server: number; readonly forMs: number }
    | { readonly kind: 'disk-error'; readonly server: number; readonly writes: number }
    | { readonly kind: 'flip-bit'; readonly server: number; readonly forMs: number }
    /** A backup is taken now, and put back later while the server is down for `forMs`. */
    | {
        readonly kind: 'restore'
        readonly server: number
        readonly restoreAfterMs: number
        readonly forMs: number
      }
    | { readonly kind: 'wipe'; readonly server: number; readonly forMs: number }
  )

export type FaultKind = Fault['kind']

/** One line for people and for JSON: snake_case, units last. */
export function faultToJson(fault: Fault): Record<string, unknown> {
  const { id: _, ...fields } = fault
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      value,
    ]),
  )
}

export function describeFault(fault: Fault): string {
  const { at_ms: atMs, kind, ...rest } = faultToJson(fault)
  const details = Object.entries(rest).map(([name, value]) => `${name}=${JSON.stringify(value)}`)
  return `${String(atMs).padStart(8)} ms  ${String(kind)}  ${details.join(' ')}`
}
