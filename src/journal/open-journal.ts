import type { Disk } from '../environment/environment.js'
import { DiskJournal } from './disk-journal.js'
import { segmentName } from './file-names.js'
import { HEADER_BYTES, newMark } from './header.js'
import type { JournalOptions, OpenedJournal, RecoveryReport } from './journal.js'
import { type Recovered, recover } from './recovery.js'
import { Replayer } from './replayer.js'
import { closeQuietly, SegmentFile } from './segment-file.js'
import { removeReplaced } from './snapshot-writer.js'

/**
 * Takes the directory, replays what the last run left in it, cuts off an unfinished last write, and goes on
 * from there. When it throws, nothing on the disk has been changed unless the disk itself failed.
 *
 * Survives a crash: every position that `durable` had reached, and possibly whole groups after it.
 * @throws DirectoryInUseError another process (or journal) has the directory
 * @throws JournalDamagedError something that a crash cannot explain; names file and offset
 * @throws JournalFormatError written by a later version of this program
 * @throws DiskError, DiskFullError
 */
export async function openJournal(options: JournalOptions): Promise<OpenedJournal> {
  const { environment, directory } = options
  await environment.disk.makeDirectory(directory)
  const lock = await environment.disk.lock(directory)
  try {
    const replayer = new Replayer(environment.scheduler, options.replay)
    const recovered = await recover(environment.disk, directory, replayer)
    const segment = await prepareSegment(options, recovered)
    await tidy(environment.disk, directory, recovered).catch(async (error: unknown) => {
      await closeQuietly(segment)
      throw error
    })
    const journal = new DiskJournal({
      environment,
      directory,
      lock,
      segment,
      nextSequence: recovered.nextSequence,
      replayBytes: Math.max(HEADER_BYTES, recovered.replayBytes),
      cleanStop: recovered.cleanStop,
      events: options,
    })
    return { journal, recovery: report(directory, recovered, replayer) }
  } catch (error) {
    await lock.release()
    throw error
  }
}

function prepareSegment(options: JournalOptions, recovered: Recovered): Promise<SegmentFile> {
  const { environment, directory } = options
  const { last, nextSequence } = recovered
  if (last !== undefined && last.goodBytes > 0) return SegmentFile.resume(environment.disk, directory, last)
  return SegmentFile.create(environment.disk, directory, {
    number: last?.number ?? 1,
    firstSequence: nextSequence,
    mark: newMark(environment.random),
  })
}

async function tidy(disk: Disk, directory: string, recovered: Recovered): Promise<void> {
  // First: a process killed right after renaming a snapshot left a name that a power cut could still undo.
  await disk.syncDirectory(directory)
  await removeReplaced(disk, directory, recovered.snapshot)
}

function report(directory: string, recovered: Recovered, replayer: Replayer): RecoveryReport {
  const { last } = recovered
  const tornBytes = last === undefined ? 0 : last.dataBytes - last.goodBytes
  return {
    snapshotRecords: replayer.counts.snapshot,
    journalRecords: replayer.counts.journal,
    tornBytes,
    tornFile: last !== undefined && tornBytes > 0 ? `${directory}/${segmentName(last.number)}` : undefined,
    cleanStop: recovered.cleanStop,
  }
}
