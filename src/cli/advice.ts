/** What to do next, for errors whose message alone does not tell an operator. */
const ADVICE: Readonly<Record<string, string>> = {
  NO_QUORUM:
    'Nothing has changed. `silo-mesh raft peers` shows who is missing; deposits and withdrawals go on meanwhile. ' +
    'If a majority of the voters is gone for good: `silo-mesh raft recover --help`.',
  OUTCOME_UNKNOWN:
    'It may have happened, or may yet. Look with `silo-mesh anchor list` or `transfer list`, or repeat a create with ' +
    '--id and the id above: it takes effect once.',
  INSUFFICIENT_RIGHTS:
    'Nothing was taken. Repeat when the servers that hold the rights are linked, or use --mode optimistic.',
}

export function adviceFor(error: unknown): string | undefined {
  const { code } = error instanceof Error ? (error as { code?: unknown }) : {}
  return typeof code === 'string' && Object.hasOwn(ADVICE, code) ? ADVICE[code] : undefined
}
