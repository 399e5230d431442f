import type { ReplicaId } from '../sync/identity.js'
import { type CellList, differingCells, type ListedCell } from './cell-scan.js'
import type { ReplicaSum } from './cell-sums.js'
import { type AuditAnswer, type AuditAsk, MAX_BUCKETS_ASKED, type PartitionSums } from './messages.js'
import type { Difference, ServerFindings } from './report.js'
import { MAX_ITEMS_NAMED, type OwnVerdict, type Place, type Survey } from './survey.js'

/** Positions of a server in one replica that wait until this server has been there too. */
const MAX_POSITIONS_AWAITED = 64
/** Replicas of one server of which it is found out which cells differ. */
const MAX_DIFFERENCES_EXPLAINED = 4
/** Replicas that findings name as differing, and as undecided. */
const MAX_PLACES_NAMED = 50
/** Partitions named in the parts of one answer; a server that never comes to an end is not listened to. */
const MAX_PARTS_WAITING = 4096

interface Pair extends Place {
  state: 'open' | 'equal' | 'differs'
  /** Their number → their sum, for numbers at which this server has not been seen yet. */
  readonly awaited: Map<number, number>
}

interface Explanation {
  readonly difference: { readonly cells: ListedCell[] } & Place
  buckets: readonly number[] | undefined
  readonly theirs: ListedCell[]
}

/**
 * Compares this server with one other while both go on working. Their sums of a replica can be compared when
 * both know the same number of it. They seldom do at the same time, but each comes by: what they have at some
 * number is remembered until this server has been there (or has been already, see `CellSums.sumAt`).
 *
 * Question by question: `next` is what to ask, `take` an answer. No time, no IO; any message may be lost.
 */
export class Comparison {
  private readonly pairs = new Map<string, Pair>()
  private parts: PartitionSums[] = []
  private heard = false
  private answers = 0
  private verdict: OwnVerdict | undefined
  private readonly explanations: Explanation[] = []
  private readonly explained: Explanation['difference'][] = []
  /** Of the other server, for people. */
  progress = { done: 0, total: 0 }

  constructor(
    readonly server: string,
    private readonly id: number,
    private readonly own: Survey,
  ) {}

  /** Nothing is left to ask. */
  get isDone(): boolean {
    return this.next() === undefined
  }

  /** What to ask next; undefined when all is known. What is open is asked in turn. */
  next(): AuditAsk | undefined {
    const { id } = this
    const open: AuditAsk[] = []
    if (!this.isCompared()) open.push({ id, type: 'sums' })
    // An overdraw may be news that is missing there: what is asked again until time is up, is a defect.
    if (!this.verdict || this.verdict.overdrawnCount > 0) open.push({ id, type: 'verdict' })
    const [explanation] = this.explanations
    if (explanation) open.push(this.askFor(explanation))
    return open[this.answers % open.length]
  }

  private askFor({ difference, buckets, theirs }: Explanation): AuditAsk {
    const { id } = this
    const { partition, replica } = difference
    if (buckets === undefined) return { id, type: 'buckets', partition, replica }
    return { id, type: 'cells', partition, replica, buckets, from: theirs.length }
  }

  /** An answer of that server; one that was not asked for changes nothing. */
  take(answer: AuditAnswer): void {
    if (answer.id !== this.id) return
    this.answers += 1
    switch (answer.type) {
      case 'working':
        this.progress = { done: answer.done, total: answer.total }
        return
      case 'busy':
        return
      case 'sums':
        if (this.parts.length >= MAX_PARTS_WAITING) this.parts = []
        this.parts.push(...answer.sums)
        if (!answer.more) this.takeSums(this.parts.splice(0))
        return
      case 'verdict':
        this.verdict = answer.verdict
        return
      case 'buckets':
        this.takeBuckets(answer)
        return
      case 'cells':
        this.takeCells(answer)
    }
  }

  /** This server has moved: what was awaited may have come. */
  advance(): void {
    for (const pair of this.pairs.values()) if (pair.state === 'open') this.compare(pair)
  }

  findings(isReachable: boolean): ServerFindings {
    const { server, verdict } = this
    const pairs = [...this.pairs.values()]
    const differences = pairs
      .filter(({ state }) => state === 'differs')
      .slice(0, MAX_PLACES_NAMED)
      .map(
        ({ partition, replica }): Difference => ({
          partition,
          replica,
          cells: this.cellsOf(partition, replica),
        }),
      )
    const open = pairs.filter(({ state }) => state === 'open')
    const undecided = open
      .slice(0, MAX_PLACES_NAMED)
      .map(({ partition, replica }) => ({ partition, replica }))
    const outcome = () => {
      if (differences.length > 0) return 'differs'
      if (this.heard && verdict && open.length === 0) return 'equal'
      return isReachable ? 'undecided' : 'unreachable'
    }
    return { server, outcome: outcome(), differences, undecided, verdict }
  }

  private cellsOf(partition: string, replica: ReplicaId): readonly ListedCell[] {
    const found = this.explained.find((place) => place.partition === partition && place.replica === replica)
    return found?.cells ?? []
  }

  private isCompared(): boolean {
    if (!this.heard) return false
    for (const { state } of this.pairs.values()) if (state === 'open') return false
    return true
  }

  private takeSums(sums: readonly PartitionSums[]): void {
    if (!this.own.isComplete) return
    const theirs = new Map<string, Map<ReplicaId, ReplicaSum>>()
    for (const { partition, rows } of sums) {
      const known = theirs.get(partition) ?? new Map<ReplicaId, ReplicaSum>()
      theirs.set(partition, known)
      for (const row of rows) known.set(row.replica, row)
    }
    for (const [partition, ours] of this.own.replicas()) {
      // Only what both host.
      const rows = theirs.get(partition)
      if (!rows) continue
      for (const replica of ours) this.pairOf(partition, replica)
      for (const { replica, known, sum } of rows.values()) {
        if (!this.hostsReplica(partition, replica) && this.pairs.size >= MAX_PAIRS) continue
        const pair = this.pairOf(partition, replica)
        if (pair.state !== 'open') continue
        pair.awaited.set(known, sum)
        if (pair.awaited.size > MAX_POSITIONS_AWAITED) pair.awaited.delete(pair.awaited.keys().next().value!)
      }
    }
    this.heard = true
    this.advance()
  }

  private hostsReplica(partition: string, replica: ReplicaId): boolean {
    return this.own.sumsOf(partition)?.partition.replica(replica) !== undefined
  }

  private pairOf(partition: string, replica: ReplicaId): Pair {
    const key = `${partition}\n${replica}`
    let pair = this.pairs.get(key)
    if (!pair) {
      pair = { partition, replica, state: 'open', awaited: new Map() }
      this.pairs.set(key, pair)
    }
    return pair
  }

  private compare(pair: Pair): void {
    const { partition, replica } = pair
    const sums = this.own.sumsOf(partition)!
    for (const [known, theirs] of pair.awaited) {
      const ours = sums.sumAt(replica, known)
      if (ours === undefined) continue
      pair.state = ours === theirs ? 'equal' : 'differs'
      pair.awaited.clear()
      if (pair.state === 'equal' || this.explanations.length >= MAX_DIFFERENCES_EXPLAINED) return
      this.explanations.push({
        difference: { partition, replica, cells: [] },
        buckets: undefined,
        theirs: [],
      })
      return
    }
  }

  private takeBuckets({ partition, replica, known, sums }: Extract<AuditAnswer, { type: 'buckets' }>): void {
    const [explanation] = this.explanations
    if (!explanation || explanation.buckets || !isOf(explanation, partition, replica)) return
    const ours = this.own.sumsOf(partition)?.buckets(replica)
    // One of them has moved on: only at the same number buckets can be compared. Ask again.
    if (!ours || ours.known !== known) return
    const differing = [...ours.sums.keys()].filter((bucket) => ours.sums[bucket] !== sums[bucket])
    if (differing.length === 0) this.explain([])
    else explanation.buckets = differing.slice(0, MAX_BUCKETS_ASKED)
  }

  private takeCells(answer: Extract<AuditAnswer, { type: 'cells' }>): void {
    const [explanation] = this.explanations
    const { partition, replica, known, isTruncated, from, cells, more } = answer
    if (!explanation?.buckets || !isOf(explanation, partition, replica)) return
    if (from !== explanation.theirs.length) return
    const ours = this.own.list({ partition, replica }, explanation.buckets)
    // The own list is made meanwhile; the last part is asked for again until it is there.
    if (!more && !ours?.isComplete) return
    explanation.theirs.push(...cells)
    if (more && cells.length > 0 && explanation.theirs.length <= MAX_CELLS_TAKEN) return
    const theirs: CellList = { known, isTruncated: isTruncated || more, cells: explanation.theirs }
    this.explain(ours?.isComplete ? differingCells(ours, theirs) : [])
  }

  private explain(cells: readonly ListedCell[]): void {
    const { difference } = this.explanations.shift()!
    difference.cells.push(...cells.slice(0, MAX_ITEMS_NAMED))
    this.explained.push(difference)
  }
}

/** Pairs of a partition and a replica that only the other server speaks of. */
const MAX_PAIRS = 65_536
/** More cells than any server lists. */
const MAX_CELLS_TAKEN = 16_384

function isOf({ difference }: Explanation, partition: string, replica: ReplicaId): boolean {
  return difference.partition === partition && difference.replica === replica
}
