import type { PartitionStatus } from '../../node/status.js'
import { vectorKey } from '../checkers/equal-vectors.js'
import type { Run } from './run.js'
import { waitsForUnheard } from './unheard-holders.js'

/** In a mesh whose nodes write for ever, each has what any of them had so long ago. */
const LAG_MS = 1_000

type Vector = Map<string, number>

/**
 * Whether servers agree on every partition that they share. When nobody writes any more they are equal; those that
 * write for ever have all that any of them had a moment ago, and are compared whenever two have seen the same (S1).
 */
export class Agreement {
  /** What each group of servers had together, when it was asked for. */
  private readonly past = new Map<string, { readonly atUs: number; readonly union: Vector }[]>()

  constructor(
    private readonly run: Run,
    private readonly isRestless: boolean,
  ) {}

  /** Undefined when all run, nothing waits, and all agree. */
  whyNot(servers: readonly number[]): string | undefined {
    const partitions: { readonly server: string; readonly partition: PartitionStatus }[] = []
    const group = new Set(servers.map((number) => this.run.cluster.servers[number]!.name))
    for (const number of servers) {
      const server = this.run.cluster.servers[number]!
      if (server.node === undefined) return `${server.name} is ${server.state}`
      const status = server.node.status()
      if (status.journal !== 'ok') return `the journal of ${server.name} is ${status.journal}`
      // Alone it has nobody to ask, and nobody to send numbered writes to.
      if (status.numberingHeld && servers.length > 1 && !waitsForUnheard(server.node, group))
        return `${server.name} still waits for its peers before it numbers writes`
      for (const partition of status.partitions) {
        if (!partition.settled) return `${server.name} has not settled`
        if (partition.unnumbered > 0 && !status.numberingHeld && !this.isRestless)
          return `${server.name} has writes without a number`
        partitions.push({ server: server.name, partition })
      }
    }
    return this.isRestless ? this.whyBehind(servers.join(' '), partitions) : whyUnequal(partitions)
  }

  private whyBehind(
    group: string,
    partitions: readonly { readonly server: string; readonly partition: PartitionStatus }[],
  ): string | undefined {
    const past = this.past.get(group) ?? []
    this.past.set(group, past)
    const union: Vector = new Map()
    for (const { partition } of partitions) {
      for (const [key, number] of rowsOf(partition)) union.set(key, Math.max(number, union.get(key) ?? 0))
    }
    const { nowUs } = this.run
    past.push({ atUs: nowUs, union })
    while (past[1] !== undefined && past[1].atUs <= nowUs - LAG_MS * 1_000) past.shift()
    const [before] = past
    if (before === undefined || before.atUs > nowUs - LAG_MS * 1_000)
      return 'nobody has been asked for long enough'
    for (const { server, partition } of partitions) {
      const known = new Map(rowsOf(partition))
      for (const [key, number] of before.union) {
        if (!key.startsWith(`${partition.partition}|`)) continue
        const has = known.get(key) ?? 0
        if (has < number) return `${server} has ${key} up to ${has}, and ${number} was there ${LAG_MS} ms ago`
      }
    }
    return undefined
  }
}

function rowsOf({ partition, versionVector }: PartitionStatus): [key: string, number: number][] {
  return Object.entries(versionVector).map(([replica, number]) => [`${partition}|${replica}`, number])
}

function whyUnequal(
  partitions: readonly { readonly server: string; readonly partition: PartitionStatus }[],
): string | undefined {
  const states = new Map<string, { readonly key: string; readonly server: string }>()
  for (const { server, partition } of partitions) {
    const key = `${vectorKey(partition)} ${partition.checksum}`
    const other = states.get(partition.partition)
    if (other === undefined) states.set(partition.partition, { key, server })
    else if (other.key !== key) return `${other.server} and ${server} differ: ${other.key} / ${key}`
  }
  return undefined
}
