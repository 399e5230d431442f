import { JournalFormatError } from '../sync/errors.js'
import type { FileWindow } from './file-window.js'
import { type FileKind, FORMAT_VERSION, HEADER_BYTES, type ParsedHeader, parseHeader } from './header.js'

/** @throws JournalFormatError for a version that this program does not know */
export async function readHeader(
  path: string,
  kind: FileKind,
  file: FileWindow,
): Promise<Exclude<ParsedHeader, { kind: 'unknown-version' }>> {
  const parsed = parseHeader(kind, await file.bytes(0, HEADER_BYTES))
  if (parsed.kind === 'unknown-version') throw new JournalFormatError(path, parsed.version, FORMAT_VERSION)
  return parsed
}
