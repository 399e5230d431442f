/** Names of the files in a journal's directory. Sixteen digits, so that sorted names are sorted numbers. */
const SEGMENT_PATTERN = /^journal-(\d{16})\.log$/
const SNAPSHOT_PATTERN = /^snapshot-(\d{16})\.snap$/
const UNFINISHED_SNAPSHOT_PATTERN = /^snapshot-\d{16}\.snap\.tmp$/

export function segmentName(number: number): string {
  return `journal-${String(number).padStart(16, '0')}.log`
}

/** A snapshot carries the number of the first segment that is replayed after it. */
export function snapshotName(number: number): string {
  return `snapshot-${String(number).padStart(16, '0')}.snap`
}

export function unfinishedSnapshotName(number: number): string {
  return `${snapshotName(number)}.tmp`
}

export interface DirectoryContents {
  /** Ascending. */
  readonly segments: readonly number[]
  /** Ascending. */
  readonly snapshots: readonly number[]
  readonly unfinishedSnapshots: readonly string[]
}

/** Sorts a directory's names; files that are not the journal's own are left alone. */
export function classifyNames(names: readonly string[]): DirectoryContents {
  const segments: number[] = []
  const snapshots: number[] = []
  const unfinishedSnapshots: string[] = []
  for (const name of names) {
    const segment = SEGMENT_PATTERN.exec(name)
    const snapshot = SNAPSHOT_PATTERN.exec(name)
    if (segment !== null) segments.push(Number(segment[1]))
    else if (snapshot !== null) snapshots.push(Number(snapshot[1]))
    else if (UNFINISHED_SNAPSHOT_PATTERN.test(name)) unfinishedSnapshots.push(name)
  }
  const ascending = (a: number, b: number) => a - b
  return { segments: segments.sort(ascending), snapshots: snapshots.sort(ascending), unfinishedSnapshots }
}
