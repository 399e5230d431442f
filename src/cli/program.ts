import { Command, CommanderError } from 'commander'
import { VERSION } from '../version.js'
import { adviceFor } from './advice.js'
import { addAnchor } from './commands/anchor.js'
import { addAudit } from './commands/audit.js'
import { addDemo } from './commands/demo.js'
import { addInit } from './commands/init.js'
import { addInvite } from './commands/invite.js'
import { addJoin } from './commands/join.js'
import { addLedger } from './commands/ledger.js'
import { addMembers } from './commands/members.js'
import { addRaft } from './commands/raft.js'
import { addStatus } from './commands/status.js'
import { addStorage } from './commands/storage.js'
import { addTransfer } from './commands/transfer.js'
import { addWatch } from './commands/watch.js'
import { addCompensation, addConflict } from './commands/withdrawal-cases.js'
import type { CommandContext } from './context.js'
import { EXIT_CODE_HELP, ExitCode, exitCodeOf } from './exit-codes.js'
import { painter } from './output.js'

/** Runs one command line (without the two words of the program itself) and gives its exit code. */
export async function run(words: readonly string[], context: CommandContext): Promise<number> {
  let exitCode: number = ExitCode.ok
  const setExitCode = (code: number) => {
    exitCode = code
  }
  try {
    await createProgram(context, setExitCode).parseAsync([...words], { from: 'user' })
    return exitCode
  } catch (error) {
    report(context, error)
    return exitCodeOf(error)
  }
}

export function createProgram(context: CommandContext, setExitCode: (code: number) => void): Command {
  const program = new Command('silo-mesh')
    .description('Shared item storage for networks of game servers, without a broker.')
    .version(VERSION)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .showHelpAfterError('(add --help for what can be said)')
    .addHelpText('after', EXIT_CODE_HELP)
  addInit(program, context)
  addJoin(program, context)
  addInvite(program, context)
  addStatus(program, context)
  addMembers(program, context)
  addStorage(program, context)
  addAnchor(program, context)
  addTransfer(program, context)
  addConflict(program, context)
  addCompensation(program, context)
  addAudit(program, context, setExitCode)
  addLedger(program, context)
  addRaft(program, context)
  addWatch(program, context)
  addDemo(program, context, setExitCode)
  return program
}

function report(context: CommandContext, error: unknown): void {
  // Commander has said it already.
  if (error instanceof CommanderError) return
  const { stderr, variables } = context
  const paint = painter(stderr, variables)
  const { message, cause } = error instanceof Error ? error : new Error(String(error))
  const detail = cause instanceof Error && !message.includes(cause.message) ? ` (${cause.message})` : ''
  stderr.write(`${paint('silo-mesh:', 'bad')} ${message}${detail}\n`)
  const advice = adviceFor(error)
  if (advice !== undefined) stderr.write(`${advice}\n`)
  if (exitCodeOf(error) === ExitCode.defect && error instanceof Error) stderr.write(`${error.stack}\n`)
}
