import { CellKind } from '../crdt/cell.js'
import type { Namespace } from '../crdt/cell-table.js'
import { MAX_REMEMBERED } from './candidates.js'
import { DueQueue } from './due-queue.js'
import { type MoverPorts, type Route, TransferRun } from './transfer-run.js'

/** Kinds of items looked at in one slice: about a millisecond, or two when all of them move. */
export const LOOKS_PER_SLICE = 256

/** How far a transfer that runs here has got. */
export interface RunProgress {
  readonly state: 'moving' | 'idle' | 'waiting-for-rights'
  /** Items moved since this server began to run it. */
  readonly moved: bigint
  /** Kinds of items that wait for rights; counted up to `MAX_REMEMBERED`. */
  readonly waiting: number
}

/** A storage that transfers lead away from. */
interface Source {
  readonly namespace: Namespace
  readonly runs: Set<TransferRun>
  /** Changed kinds that its transfers have not been told of yet. */
  readonly changed: Set<number>
}

/**
 * Moves items along the transfers that this server owns: a pure state machine. Changes and time come in; moves, as
 * batches of own writes, and wishes for rights go out through its ports.
 *
 * Every move is backed by this server's own rights and is one batch, so none is ever half done, taken back, or made
 * twice, whoever else believes to own the transfer: two owners can only, for a moment, move other items each. What is
 * visible without the rights to it waits until they have come (invariants T1, T3).
 *
 * Work is bounded per slice. A transfer whose source has nothing for it costs nothing until that source changes.
 */
export class Mover {
  private readonly runs = new Map<string, TransferRun>()
  private readonly sources = new Map<Namespace, Source>()
  private readonly changedSources = new Set<Source>()
  private readonly due = new DueQueue<TransferRun>()

  constructor(private readonly ports: MoverPorts) {}

  /** Begins to run a transfer, or goes on with it as it is now, with what it may move by now. */
  run(transferId: string, route: Route, nowUs: number, movedBefore = 0n): void {
    const before = this.runs.get(transferId)
    const run = new TransferRun(this.ports, transferId, route, nowUs, before)
    run.moved = movedBefore
    if (before) this.forget(before)
    this.runs.set(transferId, run)
    const source = this.sourceOf(run.source)
    source.runs.add(run)
    this.due.put(run, nowUs)
  }

  stop(transferId: string): void {
    const run = this.runs.get(transferId)
    if (!run) return
    this.runs.delete(transferId)
    this.forget(run)
  }

  progress(transferId: string): RunProgress | undefined {
    const run = this.runs.get(transferId)
    if (!run) return undefined
    const { moved, waiting } = run
    if (waiting > 0) return { state: 'waiting-for-rights', moved, waiting }
    return { state: this.due.atUs(run) === undefined ? 'idle' : 'moving', moved, waiting }
  }

  /** Whether any transfer runs: only then are changes of interest. */
  get isIdle(): boolean {
    return this.runs.size === 0
  }

  /** A kind of item in some storage has changed. Only takes note. */
  changed(entry: number): void {
    if (this.runs.size === 0) return
    const source = this.sources.get(this.ports.partition.table.namespaceOf(entry))
    if (source) this.note(source, entry)
  }

  /** The same by storage and key. */
  changedAt(storage: string, item: string): void {
    if (this.runs.size === 0) return
    const namespace = this.ports.partition.table.findNamespace(CellKind.counter, storage)
    const source = namespace && this.sources.get(namespace)
    const entry = source?.namespace.entries.get(item)
    if (entry !== undefined) this.note(source!, entry)
  }

  /** When there is next something to do; undefined: when something changes. */
  nextUs(): number | undefined {
    return this.changedSources.size > 0 ? 0 : this.due.nextUs()
  }

  /** One slice of work. */
  step(nowUs: number): void {
    let looks = 0
    while (looks < LOOKS_PER_SLICE && this.changedSources.size > 0) looks += this.tell(nowUs)
    while (looks < LOOKS_PER_SLICE) {
      const run = this.due.take(nowUs)
      if (run === undefined) return
      const visit = run.visit(nowUs, LOOKS_PER_SLICE - looks)
      looks += visit.looks
      if (visit.nextUs !== undefined) this.due.put(run, visit.nextUs)
    }
  }

  private note(source: Source, entry: number): void {
    // More than are remembered one by one: the transfers walk over all there is.
    if (source.changed.size > MAX_REMEMBERED) return
    source.changed.add(entry)
    this.changedSources.add(source)
  }

  /** Tells the transfers of one source of one change, or, when there were too many, of all at once. */
  private tell(nowUs: number): number {
    const [source] = this.changedSources
    const { changed, namespace, runs } = source!
    const { table } = this.ports.partition
    if (changed.size > MAX_REMEMBERED) {
      changed.clear()
      this.changedSources.delete(source!)
      for (const run of runs) {
        run.walk()
        this.wake(run, nowUs)
      }
      return 1 + runs.size
    }
    const [entry] = changed
    changed.delete(entry!)
    if (changed.size === 0) this.changedSources.delete(source!)
    if (table.total(entry!) <= 0 || table.namespaceOf(entry!) !== namespace) return 1
    const item = table.keyOf(entry!)
    for (const run of runs) {
      if (!run.route.matches(item)) continue
      run.mark(entry!)
      this.wake(run, nowUs)
    }
    return 1 + runs.size
  }

  private wake(run: TransferRun, nowUs: number): void {
    const readyUs = run.readyAtUs(nowUs)
    const dueUs = this.due.atUs(run)
    if (dueUs === undefined || readyUs < dueUs) this.due.put(run, readyUs)
  }

  private sourceOf(namespace: Namespace): Source {
    let source = this.sources.get(namespace)
    if (!source) {
      source = { namespace, runs: new Set(), changed: new Set() }
      this.sources.set(namespace, source)
    }
    return source
  }

  private forget(run: TransferRun): void {
    this.due.remove(run)
    const source = this.sources.get(run.source)!
    source.runs.delete(run)
    if (source.runs.size > 0) return
    this.sources.delete(run.source)
    this.changedSources.delete(source)
  }
}
