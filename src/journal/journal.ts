import type { Environment } from '../environment/environment.js'
import type { SiloMeshError } from '../sync/errors.js'

/**
 * An append-only log of opaque records with group commit, and snapshots that let old parts of it go.
 *
 * Two implementations: `openJournal` (segments and snapshots on a `Disk`) and `MemoryJournal` (nothing
 * survives). The truth about durability is the *position*: the number of records appended since the
 * journal was opened. What has a position up to `durable` survives a power cut, in order and complete.
 */
export interface Journal {
  /** 'full' and 'ok' may alternate; 'failed' is for good. */
  readonly status: JournalStatus
  /** Records appended since the journal was opened: the position of the newest one. */
  readonly appended: number
  /** Position up to which everything survives a crash. Never goes back. */
  readonly durable: number
  /** Bytes appended and not yet durable; `append` refuses above `MAX_PENDING_BYTES`. */
  readonly pendingBytes: number
  /** Bytes that a restart would replay besides the newest snapshot: tells the owner when to take the next. */
  readonly bytesSinceSnapshot: number

  /**
   * Adds records to the next group commit and returns the position of the last of them. Returns at once;
   * the bytes are copied, so the caller may reuse its arrays. The records of one call become durable
   * together or not at all, in the order of the calls. Still accepted while the disk is full, so that what
   * the owner has already numbered is not lost; the owner refuses new writes by looking at `status`.
   * @throws OverloadedError when MAX_PENDING_BYTES would be exceeded (nothing was added; retry later)
   * @throws InvalidArgumentError for a record above MAX_RECORD_BYTES, or a call that could never fit
   * @throws JournalFailedError after a disk failure
   * @throws NotRunningError after `close`
   */
  append(records: readonly Uint8Array[]): number

  /**
   * Resolves when `durable` has reached `position`. Rejects with DiskFullError when the disk becomes full
   * while waiting: the records are kept and tried again, so they may become durable later (`onDurable`
   * tells); a call made while `status` is 'full' waits until there is space. Rejects with
   * JournalFailedError when the disk fails: whether the records survive is then unknown.
   */
  whenDurable(position: number): Promise<void>

  /**
   * Starts a new segment, so that everything appended before this call is in older ones, and opens a
   * snapshot that will replace those. One snapshot at a time. Appends go on meanwhile.
   * @throws DiskFullError, JournalFailedError, NotRunningError; InvalidArgumentError when one is open
   */
  beginSnapshot(): Promise<SnapshotWriter>

  /**
   * Makes everything appended durable, then closes the files and releases the directory; an open snapshot
   * is aborted. Rejects with DiskFullError or JournalFailedError when the tail could not be made durable
   * (the files are closed all the same). Idempotent; everything else throws NotRunningError afterwards.
   */
  close(): Promise<void>
}

export type JournalStatus = 'ok' | 'full' | 'failed'

/**
 * Takes the state that replaces the older segments, in slices. The state may be read while appends go on
 * (a fuzzy snapshot) provided that replaying a record whose effect it already holds is harmless: a restart
 * hands out the snapshot's records, then every record appended since `beginSnapshot`.
 */
export interface SnapshotWriter {
  /** Await it before the next call: that is the back-pressure. Bytes are copied. @throws DiskFullError, DiskError */
  write(records: readonly Uint8Array[]): Promise<void>
  /**
   * Waits until everything appended so far is durable, makes the snapshot durable under its final name,
   * then removes what it replaces. After an error the old snapshot and segments are still all there.
   */
  commit(): Promise<void>
  /** Throws away what was written. Idempotent; no effect after `commit`. */
  abort(): Promise<void>
}

export interface JournalEvents {
  /** `durable` has grown. Called before the promises of `whenDurable` resolve. Must not throw. */
  readonly onDurable?: (position: number) => void
  /** `error` is why, for 'full' and 'failed'. Must not throw. */
  readonly onStatus?: (status: JournalStatus, error: SiloMeshError | undefined) => void
}

/** Receives what the last run left behind. */
export interface JournalOptions extends JournalEvents {
  readonly environment: Pick<Environment, 'disk' | 'scheduler' | 'random'>
  /** Created when absent. It belongs to one journal, which holds its lock (`Disk.lock`) until `close`. */
  readonly directory: string
  /**
   * Called with the records of the newest snapshot, then with those of the journal, in order, at most
   * REPLAY_BATCH_RECORDS (and about REPLAY_BATCH_BYTES) at a time, with a turn of the event loop between
   * batches. The arrays are views of a read buffer: copy what is kept. A rejection ends the opening.
   */
  readonly replay: (records: readonly Uint8Array[], source: ReplaySource) => void | Promise<void>
}

export type ReplaySource = 'snapshot' | 'journal'

/** What opening a journal found. */
export interface RecoveryReport {
  readonly snapshotRecords: number
  readonly journalRecords: number
  /** Bytes of an unfinished last write that were cut off; 0 after a clean stop. */
  readonly tornBytes: number
  /** The file they were in. */
  readonly tornFile: string | undefined
  /** True when the last run closed the journal properly. */
  readonly cleanStop: boolean
}

export interface OpenedJournal {
  readonly journal: Journal
  readonly recovery: RecoveryReport
}

/*
 * Opening, in ./open-journal.ts:
 *   openJournal(options: JournalOptions): Promise<OpenedJournal>
 *     @throws DirectoryInUseError, JournalDamagedError, JournalFormatError, DiskError
 * Without a disk, in ./memory-journal.ts:
 *   new MemoryJournal(scheduler: Scheduler, events?: JournalEvents)
 */

/** Largest single record. A channel message, the largest thing a peer can send, fits with room for an envelope. */
export const MAX_RECORD_BYTES = 1024 * 1024 + 4096
/** Bytes (records and their overhead) that may wait for the disk before `append` refuses. */
export const MAX_PENDING_BYTES = 64 * 1024 * 1024
/** Records in one replay call: about a millisecond of decoding and merging. */
export const REPLAY_BATCH_RECORDS = 512
/** A replay call ends at the record that reaches this many bytes. */
export const REPLAY_BATCH_BYTES = 256 * 1024
