import type { Disk, ReadFile } from '../environment/environment.js'
import { JournalDamagedError } from '../sync/errors.js'
import { classifyNames, type DirectoryContents, segmentName, snapshotName } from './file-names.js'
import { FileWindow } from './file-window.js'
import type { Replayer } from './replayer.js'
import { readSegment } from './segment-reader.js'
import { readSnapshot } from './snapshot-reader.js'

/** What reading a directory found. Nothing on the disk has been changed. */
export interface Recovered {
  readonly contents: DirectoryContents
  /** Number of the newest snapshot, 0 without one. */
  readonly snapshot: number
  /** Segment to go on writing; undefined in a new directory. */
  readonly last: LastSegment | undefined
  /** Sequence of the next group. */
  readonly nextSequence: number
  /** Bytes of the segments after the snapshot. */
  readonly replayBytes: number
  readonly cleanStop: boolean
}

interface LastSegment {
  readonly number: number
  readonly mark: number
  /** Bytes up to the end of the last complete group; 0 when even the header was not finished. */
  readonly goodBytes: number
  /** Up to the last byte that is not zero; above `goodBytes` when a crash left a piece of a group. */
  readonly dataBytes: number
}

/**
 * Replays the newest snapshot, then the segments from the number that it names.
 * @throws JournalDamagedError, JournalFormatError, DiskError
 */
export async function recover(disk: Disk, directory: string, replayer: Replayer): Promise<Recovered> {
  const contents = classifyNames(await disk.list(directory))
  const snapshot = contents.snapshots.at(-1) ?? 0
  let firstSegment = 1
  let nextSequence = 1
  if (snapshot > 0) {
    await replayer.startSource('snapshot')
    const path = `${directory}/${snapshotName(snapshot)}`
    nextSequence = await withFile(disk, path, (file) => readSnapshot(path, file, snapshot, replayer))
    firstSegment = snapshot
  }
  await replayer.startSource('journal')
  const segments = contents.segments.filter((number) => number >= firstSegment)
  assertComplete(directory, segments, firstSegment, snapshot > 0)

  let last: LastSegment | undefined
  let replayBytes = 0
  let cleanStop = false
  for (const number of segments) {
    const path = `${directory}/${segmentName(number)}`
    const expected = { number, sequence: nextSequence, isLast: number === segments.at(-1) }
    const end = await withFile(disk, path, (file) => readSegment(path, file, expected, replayer))
    nextSequence = end.nextSequence
    cleanStop = end.cleanStop
    replayBytes += end.goodBytes
    last = { number, mark: end.mark, goodBytes: end.goodBytes, dataBytes: end.dataBytes }
  }
  await replayer.flush()
  return { contents, snapshot, last, nextSequence, replayBytes, cleanStop }
}

/** A directory of segments and snapshots has lost a file when the numbers do not run on. */
function assertComplete(directory: string, segments: readonly number[], first: number, after: boolean): void {
  if (segments.length === 0 && !after) return
  // The segment that a snapshot names is durable before the snapshot is begun, so it must be there too.
  const count = Math.max(1, segments.length)
  for (let at = 0; at < count; at += 1) {
    if (segments[at] === first + at) continue
    throw new JournalDamagedError(`${directory}/${segmentName(first + at)}`, 0, 'the file is missing')
  }
}

async function withFile<T>(disk: Disk, path: string, use: (file: FileWindow) => Promise<T>): Promise<T> {
  const file: ReadFile = await disk.openRead(path)
  try {
    return await use(new FileWindow(file))
  } finally {
    await file.close()
  }
}
