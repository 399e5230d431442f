import type { ReplicaState } from './partition.js'

/** Follows the cells of a partition, to go over all of them in slices while they change. Must not write. */
export interface CellWatcher {
  /** The cell in this row is about to be overwritten or removed. */
  leaving(row: number): void
  /** It has its new value. */
  entered(row: number): void
  /** Everything up to `state.known` has been taken in. */
  advanced(state: ReplicaState): void
}

/** Usually nobody: then each call costs a look at an empty array. */
export class CellWatchers implements CellWatcher {
  private watchers: readonly CellWatcher[] = []

  add(watcher: CellWatcher): void {
    this.watchers = [...this.watchers, watcher]
  }

  delete(watcher: CellWatcher): void {
    this.watchers = this.watchers.filter((other) => other !== watcher)
  }

  leaving(row: number): void {
    for (const watcher of this.watchers) watcher.leaving(row)
  }

  entered(row: number): void {
    for (const watcher of this.watchers) watcher.entered(row)
  }

  advanced(state: ReplicaState): void {
    for (const watcher of this.watchers) watcher.advanced(state)
  }
}
