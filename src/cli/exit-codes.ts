import { CommanderError } from 'commander'
import { SiloMeshError } from '../sync/errors.js'

/** What a shell script can rely on; the numbers are those of sysexits.h. */
export const ExitCode = {
  ok: 0,
  /** `demo` has found items lost or duplicated, servers that did not converge, or nothing to judge; `audit` a mismatch. */
  failed: 1,
  usage: 64,
  noNode: 69,
  defect: 70,
  tryAgain: 75,
  refused: 77,
  config: 78,
} as const

export const EXIT_CODE_HELP = `
Exit codes:
  0   done
  1   demo: items were lost or duplicated, the servers did not converge, or too little happened; audit: a mismatch
  64  usage: a wrong option or argument; nothing was done
  69  no node runs there
  70  a defect in silo-mesh itself
  75  try again: busy, still starting, disk full, a level not reached in time, no quorum, an audit that is
      not complete; or the outcome is unknown: look first, or repeat with the same --id
  77  refused: not enough items, in use, not found, already founded, permission denied, turned away by the mesh
  78  configuration: the config file, the key file or the data directory is wrong`

/** What of an error decides the exit code; also known of one that a running node reported. */
export interface Reported {
  readonly code: string
  readonly retryable: boolean
}

const CODES: Readonly<Record<string, number>> = {
  USAGE: ExitCode.usage,
  INVALID_ARGUMENT: ExitCode.usage,
  NO_NODE: ExitCode.noNode,
  INVARIANT_VIOLATED: ExitCode.defect,
  DEFECT: ExitCode.defect,
  LEVEL_NOT_REACHED: ExitCode.tryAgain,
  // By itself no reason to repeat: look first, or repeat with the same id.
  OUTCOME_UNKNOWN: ExitCode.tryAgain,
  // Retryable, yet not by the clock: somebody must bring items first.
  INSUFFICIENT_QUANTITY: ExitCode.refused,
  CONFIG_INVALID: ExitCode.config,
  JOURNAL_DAMAGED: ExitCode.config,
  JOURNAL_FORMAT_UNKNOWN: ExitCode.config,
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage
  if (error instanceof SiloMeshError) return exitCodeOfReported(error)
  return ExitCode.defect
}

function exitCodeOfReported({ code, retryable }: Reported): number {
  return CODES[code] ?? (retryable ? ExitCode.tryAgain : ExitCode.refused)
}
