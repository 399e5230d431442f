/**
 * Every error that silo-mesh raises on purpose: a class per meaning, found by its stable `code`.
 * `retryable`: the same call may succeed later, unchanged. `indeterminate`: the operation may have
 * happened or may yet happen; retry only with the same operation id.
 */
export abstract class SiloMeshError extends Error {
  abstract readonly code: string
  abstract readonly retryable: boolean
  readonly indeterminate: boolean = false

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}

/** A value given by the caller breaks a rule; nothing has changed. */
export class InvalidArgumentError extends SiloMeshError {
  readonly code = 'INVALID_ARGUMENT'
  readonly retryable = false
}

/** The configuration is wrong: an unknown key, a missing or contradictory value. */
export class ConfigError extends SiloMeshError {
  readonly code = 'CONFIG_INVALID'
  readonly retryable = false
}

/** More was asked for than is visible here. */
export class InsufficientQuantityError extends SiloMeshError {
  readonly code = 'INSUFFICIENT_QUANTITY'
  readonly retryable = true
  constructor(
    readonly requested: bigint,
    readonly visible: bigint,
    item: string,
  ) {
    super(`withdraw of ${requested} ${item} refused: only ${visible} are visible on this server`)
  }
}

/** A withdrawal that had to be backed was not: the rights to the items are elsewhere. Nothing was taken. */
export class InsufficientRightsError extends SiloMeshError {
  readonly code = 'INSUFFICIENT_RIGHTS'
  readonly retryable = true
  constructor(
    item: string,
    readonly requested: bigint,
    readonly visible: bigint,
    readonly ownRights: bigint,
    /** The other servers that hold rights, as far as seen here, largest first. */
    readonly holders: readonly (readonly [serverId: string, rights: bigint])[],
  ) {
    const elsewhere = holders.map(([server, rights]) => `${server}: ${rights}`).join(', ')
    super(
      `withdraw of ${requested} ${item} is not backed: ${visible} are visible, this server has rights to ` +
        `${ownRights}; other servers: ${elsewhere || 'none'}`,
    )
  }
}

/** The node has not finished starting, is stopping, or has stopped. */
export class NotRunningError extends SiloMeshError {
  readonly code = 'NOT_RUNNING'
  readonly retryable = true
}

/** A consistency level was not reached in time. The operation stands and may reach it later. */
export class LevelNotReachedError extends SiloMeshError {
  readonly code = 'LEVEL_NOT_REACHED'
  readonly retryable = false
  override readonly indeterminate = true
  constructor(
    readonly level: string,
    readonly reached: number,
    readonly needed: number,
    reason: string,
  ) {
    super(`${level} not reached (${reached} of ${needed} servers hold it): ${reason}; the operation stands`)
  }
}

/** A read at a consistency level could not be made fresh enough in time. Nothing happened; local reads go on. */
export class ReadLevelNotReachedError extends SiloMeshError {
  readonly code = 'READ_LEVEL_NOT_REACHED'
  readonly retryable = true
  constructor(
    readonly level: string,
    /** Servers that have told what they hold, this one included, and how many it takes. */
    readonly answered: number,
    readonly needed: number,
    reason: string,
  ) {
    const standing =
      answered < needed
        ? `${answered} of ${needed} servers have answered`
        : 'this server has not received all that the others hold'
    super(`read at ${level} not possible: ${standing} ${reason}`)
  }
}

/** The caller's AbortSignal fired while waiting. What was begun may still complete. */
export class AbortedError extends SiloMeshError {
  readonly code = 'ABORTED'
  readonly retryable = true
  override readonly indeterminate = true
}

/** A bounded queue is full; try again when it has drained. */
export class OverloadedError extends SiloMeshError {
  readonly code = 'OVERLOADED'
  readonly retryable = true
}

/** A disk operation failed for a reason that has no class of its own. */
export class DiskError extends SiloMeshError {
  readonly code: string = 'DISK_FAILED'
  readonly retryable: boolean = false
  override readonly indeterminate: boolean = true
}

/** No space left. What could not be written is kept in memory and tried again. */
export class DiskFullError extends DiskError {
  override readonly code = 'DISK_FULL'
  override readonly retryable = true
}

/** There is no file of that name. */
export class FileNotFoundError extends DiskError {
  override readonly code = 'FILE_NOT_FOUND'
  override readonly indeterminate = false
}

/** Another process has this data directory open. */
export class DirectoryInUseError extends SiloMeshError {
  readonly code = 'DIRECTORY_IN_USE'
  readonly retryable = true
}

/** The journal or a snapshot is damaged at a place that a crash cannot explain. */
export class JournalDamagedError extends SiloMeshError {
  readonly code = 'JOURNAL_DAMAGED'
  readonly retryable = false
  constructor(
    readonly file: string,
    readonly offset: number,
    detail: string,
  ) {
    super(
      `${file} is damaged at byte ${offset}: ${detail}. Restore this data directory from a backup, ` +
        'or move its journal-* and snapshot-* files away, keep server.key, and let this server rejoin',
    )
  }
}

/** The journal's disk failed in a way after which nothing written can be trusted; the node must restart. */
export class JournalFailedError extends SiloMeshError {
  readonly code = 'JOURNAL_FAILED'
  readonly retryable = false
  override readonly indeterminate = true
}

/** A journal file was written by a version of this program that this one does not know. Nothing was changed. */
export class JournalFormatError extends SiloMeshError {
  readonly code = 'JOURNAL_FORMAT_UNKNOWN'
  readonly retryable = false
  constructor(
    readonly file: string,
    readonly version: number,
    known: number,
  ) {
    super(
      `${file} has format version ${version}, this program knows ${known}: ` +
        'start the newer silo-mesh that wrote it, or use another data directory',
    )
  }
}

/** The address to listen on is taken or may not be used. */
export class AddressInUseError extends SiloMeshError {
  readonly code = 'ADDRESS_IN_USE'
  readonly retryable = true
}

/** No secured channel to that address came about. */
export class DialError extends SiloMeshError {
  readonly code = 'DIAL_FAILED'
  readonly retryable = true
}

/** Bytes from a peer that do not follow the protocol; the link they came over is closed. */
export class FrameError extends SiloMeshError {
  readonly code = 'FRAME_MALFORMED'
  readonly retryable = false
}

/** Why a link was refused; the same word is logged on both sides. */
export type RefusalReason =
  | 'wrong-secret'
  | 'wrong-cluster'
  | 'name-in-use'
  | 'self'
  | 'unsupported-version'
  | 'duplicate-link'
  | 'too-many-links'
  | 'malformed-hello'
  | 'hello-timeout'
  | 'stopping'
  /** An operator has cut the two servers apart (`LinkManager.setCut`). */
  | 'cut'

/** A link was refused during the hello, by this side or the other. */
export class LinkRefusedError extends SiloMeshError {
  readonly code = 'LINK_REFUSED'
  readonly retryable = false
  constructor(
    readonly reason: RefusalReason,
    detail: string,
  ) {
    super(`link refused (${reason}): ${detail}`)
  }
}

/** A delta begins above what is known here: something in between is missing. Nothing was applied. */
export class GapError extends SiloMeshError {
  readonly code = 'DELTA_GAP'
  readonly retryable = true
}

/** A watcher is too far behind: the changes it asks for are no longer kept. Read the state anew and watch from there. */
export class RevisionCompactedError extends SiloMeshError {
  readonly code = 'REVISION_COMPACTED'
  readonly retryable = false
  constructor(
    readonly revision: number,
    readonly compactedRevision: number,
  ) {
    super(`changes from revision ${revision} are gone: only those after ${compactedRevision} are kept`)
  }
}

/** No majority of the Raft voters could be reached in time. Certain: nothing happened because of the call. */
export class NoQuorumError extends SiloMeshError {
  readonly code = 'NO_QUORUM'
  readonly retryable = true
}

/** The outcome did not come back in time, or the disk did not tell it: the operation may have happened, or yet happen. */
export class OutcomeUnknownError extends SiloMeshError {
  readonly code = 'OUTCOME_UNKNOWN'
  readonly retryable = false
  override readonly indeterminate = true
}

/** The lock is held by the very operation that asks for it. */
export class LockReentryError extends SiloMeshError {
  readonly code = 'LOCK_REENTRY'
  readonly retryable = false
}

/** The lock was not got in time; the operation has not run. */
export class LockTimeoutError extends SiloMeshError {
  readonly code = 'LOCK_TIMEOUT'
  readonly retryable = true
}

/** What a server held by its lease was lost while it was in use: the operation ran, partly at least, without it. */
export class LockLostError extends SiloMeshError {
  readonly code = 'LOCK_LOST'
  readonly retryable = false
  override readonly indeterminate = true
}

/** An anchor, transfer or other named thing does not exist. */
export class NotFoundError extends SiloMeshError {
  readonly code = 'NOT_FOUND'
  readonly retryable = false
}

/** What exists already, has another version by now, or is still in use stands in the way. */
export class ConflictError extends SiloMeshError {
  readonly code = 'CONFLICT'
  readonly retryable = false
}

/** An internal invariant of docs/architecture.md does not hold: a defect in this program, never in its use. */
export class InvariantViolation extends SiloMeshError {
  readonly code = 'INVARIANT_VIOLATED'
  readonly retryable = false
  constructor(
    readonly invariant: string,
    detail: string,
  ) {
    super(`${invariant} violated: ${detail}`)
  }
}

/** Crashes with the number of the invariant (docs/architecture.md) when `condition` is false. */
export function assertInvariant(condition: boolean, invariant: string, detail: string): asserts condition {
  if (!condition) throw new InvariantViolation(invariant, detail)
}

/** A command was typed wrongly; nothing has been done. */
export class UsageError extends SiloMeshError {
  readonly code = 'USAGE'
  readonly retryable = false
}

/** No running node answers for that data directory. */
export class NoNodeError extends SiloMeshError {
  readonly code = 'NO_NODE'
  readonly retryable = true
}

/** What already stands there forbids it: a mesh founded before, another mesh's key. Nothing has changed. */
export class RefusedError extends SiloMeshError {
  readonly code = 'REFUSED'
  readonly retryable = false
}

/** A line on the control socket that does not follow the control protocol. */
export class ControlProtocolError extends SiloMeshError {
  readonly code = 'CONTROL_PROTOCOL'
  readonly retryable = false
}

/** The running node does not know this control method: it is older or newer than the program that asks. */
export class UnknownMethodError extends SiloMeshError {
  readonly code = 'UNKNOWN_METHOD'
  readonly retryable = false
}
