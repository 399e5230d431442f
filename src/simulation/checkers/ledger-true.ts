import type { LedgerEntry, LedgerLine } from '../../ledger/entry.js'
import type { MeshNode } from '../../node/mesh-node.js'
import type { Server } from '../cluster/server.js'
import type { FaultKind } from '../faults/fault.js'
import type { Named } from '../run/named.js'
import { type Run, textOf } from '../run/run.js'
import { hasCode } from '../workloads/counters.js'
import type { Checker } from './checker.js'

/** Between two readings of a server's ledger. */
const READ_EVERY_MS = 10_000
/** A line follows its operation, and is on the disk for good, within this; or this where something is slow. */
const WRITTEN_WITHIN_US = 3_000_000
const SLOWLY_WRITTEN_WITHIN_US = 15_000_000
const SLOW: ReadonlySet<FaultKind> = new Set(['slow-disk', 'freeze', 'lag'])
/** Then lines wait for the disk, and a crash takes those that do. */
const DISK_TROUBLE: ReadonlySet<FaultKind> = new Set(['full-disk', 'disk-error', 'flip-bit'])
const DISK_ERRORS = new Set(['DISK_FAILED', 'DISK_FULL', 'NOT_RUNNING'])

/** A time of which lines may be missing: up to a crash. */
interface Span {
  readonly fromUs: number
  readonly toUs: number
}

interface Reading {
  readonly entries: readonly LedgerEntry[]
  /** What was written down before is among them. */
  readonly sinceUs: number
  readonly crashes: readonly Span[]
}

/**
 * The ledger of a server tells of what its journal holds and of nothing else (G1): from the moment at which a line is
 * read, its operation counts as acknowledged, so conservation (C1) sees it when it is not there. And each operation
 * that was acknowledged has its lines, but for the last moments before a crash (G2).
 */
export function ledgerTrue(run: Run): Checker {
  const lastSeenUs = new Map<number, number>()
  const crashes = new Map<number, Span[]>()

  const read = (server: Server<MeshNode>, node: MeshNode) => {
    const { generation } = server
    const sinceUs = run.nowUs
    const compared = readAll(node).then((entries) => {
      if (server.generation !== generation || run.over) return
      compare(run, server, { entries, sinceUs, crashes: crashes.get(server.number) ?? [] })
      run.cluster.after(READ_EVERY_MS, () => {
        if (server.generation === generation) run.cluster.within(server, (running) => read(server, running))
      })
    })
    // Not a question to be answered: the run may end during any reading.
    compared.catch((error: unknown) => {
      if (!hasCode(error, DISK_ERRORS)) run.fail('O2', `reading the ledger: ${textOf(error)}`, server.number)
    })
  }

  const endsUnwritten = (server: number, fromUs: number, toUs: number) => {
    const spans = crashes.get(server) ?? []
    spans.push({ fromUs: fromUs - writtenWithinUs(run, server), toUs })
    crashes.set(server, spans)
  }

  // A backup is what a crash at its moment would have left.
  run.onRestored((server, toUs) => endsUnwritten(server, toUs, toUs))
  run.onRunning((server, node) => {
    if (!run.options.ledgers[server.number]) return
    const seenUs = lastSeenUs.get(server.number)
    if (seenUs !== undefined) endsUnwritten(server.number, seenUs, run.nowUs)
    lastSeenUs.set(server.number, run.nowUs)
    read(server, node)
  })

  return {
    invariants: ['G1', 'G2'],
    observe() {
      for (const { node, number } of run.cluster.servers) if (node) lastSeenUs.set(number, run.nowUs)
    },
  }
}

async function readAll(node: MeshNode): Promise<LedgerEntry[]> {
  const entries: LedgerEntry[] = []
  for await (const entry of node.ledger()) entries.push(entry)
  return entries
}

function compare(run: Run, server: Server<MeshNode>, reading: Reading): void {
  const { entries } = reading
  const written = new Set<string>()
  for (const entry of entries) {
    if (entry.type === 'gap' || entry.type === 'settlement' || entry.outcome !== 'durable') continue
    const known = entry.by === undefined ? undefined : run.named.get(entry.by)
    if (known === undefined || known.server !== server.number || !tellsOf(known, entry)) {
      run.fail(
        'G1',
        `the ledger of ${server.name} has ${describe(entry)}, which nobody asked for`,
        server.number,
      )
      return
    }
    const key = keyOf(entry.by!, entry.type, entry.storage)
    if (written.has(key))
      run.fail('G1', `the ledger of ${server.name} has ${describe(entry)} twice`, server.number)
    written.add(key)
    count(run, server, known, entry)
  }
  const hasGap = entries.some((entry) => entry.type === 'gap' && entry.reason !== 'crash')
  if (hasGap || suffers(run, server.number, DISK_TROUBLE)) return
  requireLines(run, server, written, reading)
}

/** Read, so it is durable; of an operation begun anew it is not certain which attempt it tells of. */
function count(run: Run, server: Server<MeshNode>, known: Named, line: LedgerLine): void {
  if (known.attempts !== 1 || line.kind === 'provisional') return
  for (const entry of known.entries) {
    if (entry.void)
      run.fail('G1', `the ledger of ${server.name} has ${describe(line)}, which was refused`, server.number)
    entry.durableUs ??= run.nowUs
  }
}

function requireLines(
  run: Run,
  server: Server<MeshNode>,
  written: ReadonlySet<string>,
  { crashes, sinceUs }: Reading,
): void {
  const beforeUs = sinceUs - writtenWithinUs(run, server.number)
  for (const [by, known] of run.named) {
    if (known.server !== server.number || known.attempts !== 1) continue
    const [entry] = known.entries
    if (entry?.durableUs === undefined || entry.durableUs > beforeUs) continue
    if (run.ledger.hasLostSince(server.number, entry.atUs)) continue
    const { atUs, durableUs } = entry
    // Made before a crash, it may have been acknowledged after it, at a retry.
    if (crashes.some(({ fromUs, toUs }) => durableUs >= fromUs && atUs <= toUs)) continue
    for (const { type, place } of known.lines) {
      if (written.has(keyOf(by, type, place.storage))) continue
      run.fail('G2', `the ledger of ${server.name} lacks ${type} of ${by} in ${place.storage}`, server.number)
    }
  }
}

function writtenWithinUs(run: Run, server: number): number {
  return suffers(run, server, SLOW) ? SLOWLY_WRITTEN_WITHIN_US : WRITTEN_WITHIN_US
}

function suffers(run: Run, server: number, kinds: ReadonlySet<FaultKind>): boolean {
  return run.options.faults.some(
    (fault) => kinds.has(fault.kind) && 'server' in fault && fault.server === server,
  )
}

function tellsOf({ amount, item, lines }: Named, line: LedgerLine): boolean {
  const isKnown = lines.some(
    ({ type, place }) => type === line.type && place.storage === line.storage && place.world === line.world,
  )
  return isKnown && item === line.item && amount === line.amount
}

function keyOf(by: string, type: string, storage: string): string {
  return `${by} ${type} ${storage}`
}

function describe({ amount, by, item, storage, type }: LedgerLine): string {
  return `${type} ${amount} ${item} in ${storage} by ${by}`
}
