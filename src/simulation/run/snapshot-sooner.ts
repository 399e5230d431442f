import { DiskJournal } from '../../journal/disk-journal.js'
import { SNAPSHOT_MIN_BYTES } from '../../node/snapshotter.js'

/**
 * Makes journals look larger than they are, so that a node takes snapshots after a few kilobytes and a short
 * run has many of them, at bad moments too. Returns what undoes it.
 */
export function snapshotSooner(everyBytes: number): () => void {
  const original = Object.getOwnPropertyDescriptor(DiskJournal.prototype, 'bytesSinceSnapshot')
  const read = original?.get
  if (original === undefined || read === undefined) throw new TypeError('bytesSinceSnapshot is not a getter')
  const factor = Math.max(1, SNAPSHOT_MIN_BYTES / everyBytes)
  Object.defineProperty(DiskJournal.prototype, 'bytesSinceSnapshot', {
    ...original,
    get(this: DiskJournal) {
      return read.call(this) * factor
    },
  })
  return () => {
    Object.defineProperty(DiskJournal.prototype, 'bytesSinceSnapshot', original)
  }
}
