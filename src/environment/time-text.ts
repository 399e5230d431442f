/** A wall time as people and logs write it: 2026-11-23T18:05:09.120Z. */
export function isoTime(wallMs: number): string {
  return new Date(wallMs).toISOString()
}
