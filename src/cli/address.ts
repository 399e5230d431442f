import { UsageError } from '../sync/errors.js'

export interface HostAndPort {
  readonly host: string
  readonly port: number
}

/** `host:port`, an IPv6 host in brackets. @throws UsageError */
export function parseHostAndPort(text: string): HostAndPort {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/[\]]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (!match || port > 65_535) {
    throw new UsageError(
      `--listen ${JSON.stringify(text)}: host:port expected, like 127.0.0.1:7001 or [::1]:7001`,
    )
  }
  return { host: (match[1] ?? match[2])!, port }
}
