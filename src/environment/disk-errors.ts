import { DiskError, DiskFullError, FileNotFoundError } from '../sync/errors.js'

/** The class that says what the owner can do about a failed system call. */
export function toDiskError(operation: string, path: string, cause: unknown): DiskError {
  if (cause instanceof DiskError) return cause
  const code = (cause as NodeJS.ErrnoException | undefined)?.code
  const detail = cause instanceof Error ? cause.message : String(cause)
  const message = `${operation} ${path}: ${detail}`
  if (code === 'ENOSPC' || code === 'EDQUOT') return new DiskFullError(message, { cause })
  if (code === 'ENOENT') return new FileNotFoundError(message, { cause })
  return new DiskError(message, { cause })
}
