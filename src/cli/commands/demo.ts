import type { Command } from 'commander'
import type { CommandContext } from '../context.js'
import { isGood, printReport, toJson } from '../demo/report.js'
import { runDemo } from '../demo/run-demo.js'
import { ExitCode } from '../exit-codes.js'
import { printJson } from '../output.js'
import { addJson, type CommonOptions, wholeNumber } from './common.js'

interface DemoCommandOptions extends CommonOptions {
  readonly seconds: number
  readonly seed: number
  readonly keep?: boolean
}

const DEFAULT_SECONDS = 14
/** Everything else takes a few seconds; the whole stays under a minute. */
const MIN_SECONDS = 2
const MAX_SECONDS = 45

export function addDemo(
  program: Command,
  context: CommandContext,
  setExitCode: (code: number) => void,
): void {
  const command = program
    .command('demo')
    .description('three servers, real items, a cut link and a kill -9: is anything lost?')
    .option(
      '--seconds <n>',
      'how long the players play',
      wholeNumber(MIN_SECONDS, MAX_SECONDS),
      DEFAULT_SECONDS,
    )
    .option('--seed <n>', 'who does what, and who is cut and killed', wholeNumber(0, 2 ** 31), 1)
    .option('--keep', 'keep the data directories and operation logs')
  addJson(command).addHelpText(
    'after',
    `
Three processes on loopback share two storages. Players mine blocks and kill entities, deposit what dropped and
withdraw what their server has brought; builders put items into chests, and transfers move them on. Meanwhile a
link is cut and healed, and a server is killed with SIGKILL and started again. Each server writes down, outside of
the mesh, what was acknowledged; the verdict compares that with what the mesh holds at the end. With --json the last
line of stdout is one object. Exit code 0 only if all servers became equal, nothing was lost or duplicated, and
there was something to lose: every server has played and built, and transfers have moved items.`,
  )
  command.action(async (options: DemoCommandOptions) => {
    const { seconds, seed, keep = false, json = false } = options
    const result = await runDemo(context, { seconds, seed, keep })
    printReport(json ? context.stderr : context.stdout, context.variables, result)
    if (json) printJson(context.stdout, { ...toJson(result) })
    setExitCode(isGood(result) ? ExitCode.ok : ExitCode.failed)
  })
}
