import type { Structure } from './messages.js'
import type { StructureOperation } from './structure-log.js'

export interface StructureVerdict {
  /** As all servers show them; of the server that shows fewest, if they differ. */
  readonly anchors: number
  readonly transfers: number
  /** Strong operations that the mesh has acknowledged, by the servers' own logs. */
  readonly acknowledged: number
  /** Of these, the ones whose anchor or transfer is missing on some server. */
  readonly lost: number
  /** Without an answer, and how the final structure settles them. */
  readonly unknown: { readonly happened: number; readonly didNot: number }
}

/** Judges anchors and transfers by what the servers' own logs acknowledge. */
export function judgeStructure(
  logs: readonly (readonly StructureOperation[])[],
  structures: readonly Structure[],
): StructureVerdict {
  const shown = structures.map(({ anchors, transfers }) => new Set([...anchors, ...transfers]))
  const isEverywhere = ({ id }: StructureOperation) => shown.every((ids) => ids.has(id))
  const all = logs.flat()
  const acknowledged = all.filter(({ outcome }) => outcome === 'acknowledged')
  const unknown = all.filter(({ outcome }) => outcome === 'unknown')
  const happened = unknown.filter(isEverywhere).length
  return {
    anchors: fewest(structures.map(({ anchors }) => anchors.length)),
    transfers: fewest(structures.map(({ transfers }) => transfers.length)),
    acknowledged: acknowledged.length,
    lost: acknowledged.filter((operation) => !isEverywhere(operation)).length,
    unknown: { happened, didNot: unknown.length - happened },
  }
}

function fewest(counts: readonly number[]): number {
  return counts.length === 0 ? 0 : Math.min(...counts)
}
