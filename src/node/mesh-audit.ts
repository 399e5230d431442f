import type { AuditOutcome, ComparisonOutcome, Difference, ServerFindings } from '../audit/report.js'
import type { OwnVerdict, Place } from '../audit/survey.js'
import { CellKind } from '../crdt/cell.js'
import type { ReplicaId } from '../sync/identity.js'
import { type AuditEntry, auditEntry } from './audit.js'
import { worldOfPartition } from './partitions.js'

/** What an audit of the mesh has found. */
export interface MeshAudit {
  /** 'incomplete': nothing is wrong as far as it could be seen, and not everything could. */
  readonly outcome: AuditOutcome
  /** The server that was asked first, then the others. */
  readonly servers: readonly ServerAudit[]
}

export interface ServerAudit {
  readonly serverId: string
  /**
   * Its state beside that of the server that audits. 'self': it is that one. 'undecided': not compared in time,
   * since it did not answer or the two never had the same news. 'unreachable': there is no link to it.
   */
  readonly state: ComparisonOutcome | 'self'
  /** Where both know the same writes and have them differently: a defect. */
  readonly differences: readonly StateDifference[]
  /** What could not be compared. */
  readonly undecided: readonly ReplicaPlace[]
  /** Its own books; undefined when it did not tell. */
  readonly books: ServerBooks | undefined
}

export interface ReplicaPlace {
  /** Undefined: what all servers share. */
  readonly world: string | undefined
  readonly replica: ReplicaId
}

export interface StateDifference extends ReplicaPlace {
  /** Some of the items, at most 20; empty when it moved too fast to tell. */
  readonly items: readonly { readonly storage: string; readonly item: string }[]
  /** How many entries of other kinds (shared state, members) were found, at most 20. */
  readonly others: number
}

/** Whether what a server holds adds up, by its own account. Lists name at most 20. */
export interface ServerBooks {
  readonly items: number
  /** Items whose sums do not fit: see `AuditEntry`. */
  readonly wrongCount: number
  readonly wrong: readonly AuditEntry[]
  /** Items of which fewer than none are there, and no provisional withdrawal explains it: news is missing. */
  readonly overdrawnCount: number
  readonly overdrawn: readonly AuditEntry[]
  /** Replicas whose cells do not give the checksum that is kept of them. */
  readonly altered: readonly ReplicaPlace[]
}

export function describeAudit(
  outcome: AuditOutcome,
  self: string,
  own: OwnVerdict | undefined,
  findings: readonly ServerFindings[],
): MeshAudit {
  const first: ServerAudit = {
    serverId: self,
    state: 'self',
    differences: [],
    undecided: [],
    books: own && describeBooks(own),
  }
  const others = findings.map(
    ({ server, outcome: state, differences, undecided, verdict }): ServerAudit => ({
      serverId: server,
      state,
      differences: differences.map(describeDifference),
      undecided: undecided.map(describePlace),
      books: verdict && describeBooks(verdict),
    }),
  )
  return { outcome, servers: [first, ...others] }
}

function describeBooks({ wrong, overdrawn, altered, ...counts }: OwnVerdict): ServerBooks {
  return {
    ...counts,
    wrong: wrong.map(auditEntry),
    overdrawn: overdrawn.map(auditEntry),
    altered: altered.map(describePlace),
  }
}

function describeDifference({ cells, ...place }: Difference): StateDifference {
  const counters = cells.filter(({ kind }) => kind === CellKind.counter)
  return {
    ...describePlace(place),
    items: counters.map(({ namespace, key }) => ({ storage: namespace, item: key })),
    others: cells.length - counters.length,
  }
}

function describePlace({ partition, replica }: Place): ReplicaPlace {
  return { world: worldOfPartition(partition), replica }
}
