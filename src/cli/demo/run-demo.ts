import { makeTemporaryDirectory, removeTree } from '../../environment/temporary-directory.js'
import { readTextFile } from '../../environment/text-file.js'
import type { CommandContext } from '../context.js'
import { interruption } from '../signals.js'
import { judgeAudits } from './audit-verdict.js'
import { awaitConvergence } from './convergence.js'
import { DemoFailure } from './game-server.js'
import { LOOT_DATA_SOURCE } from './loot.js'
import { countMoved } from './moved-items.js'
import { parseOperationLog } from './operation-log.js'
import { PHASES } from './phases.js'
import { ProgressReport } from './progress.js'
import type { DemoResult } from './report.js'
import { type DemoOptions, Stage } from './stage.js'
import { parseStructureLog } from './structure-log.js'
import { judgeStructure } from './structure-verdict.js'
import { judge } from './verdict.js'
import { countWithdrawals } from './withdrawal-counts.js'

const MAX_LOG_BYTES = 512 * 1024 * 1024

export interface RunOptions extends DemoOptions {
  /** Leave the directory with data and logs. */
  readonly keep: boolean
}

/** Plays the demo. @throws DemoFailure, AbortedError on Ctrl-C */
export async function runDemo(context: CommandContext, options: RunOptions): Promise<DemoResult> {
  const { environment, stderr } = context
  const { signal, release } = interruption(environment.clock)
  const directory = await makeTemporaryDirectory('silo-mesh-demo-')
  const progress = await ProgressReport.create(context)
  const stage = new Stage(environment, directory, options, progress, signal)
  stderr.write(`items and drop chances: ${LOOT_DATA_SOURCE}; seed ${options.seed}\n`)
  try {
    return await play(stage)
  } catch (error) {
    progress.failed()
    throw error
  } finally {
    await stage.tearDown()
    if (options.keep) stderr.write(`data and operation logs stay in ${directory}\n`)
    else await removeTree(directory)
    release()
  }
}

async function play(stage: Stage): Promise<DemoResult> {
  const { environment, progress } = stage
  const startedMs = environment.clock.monotonicMs()
  for (const phase of PHASES) {
    progress.begin(phase.title(stage))
    await phase.run(stage)
    progress.done()
  }
  progress.begin('all servers compare what they have')
  const convergence = await awaitConvergence(stage)
  const servers = await stage.all(async ({ id, restarts, operationLog, structureLog }) => {
    const text = async (path: string) => {
      const found = await readTextFile(environment.disk, path, MAX_LOG_BYTES)
      // Without its witness nothing can be judged.
      if (found === undefined) throw new DemoFailure(`${path} is gone: somebody else has removed it`)
      return found
    }
    return {
      id,
      restarts,
      log: parseOperationLog(await text(operationLog)),
      structureLog: parseStructureLog(await text(structureLog)),
    }
  })
  const logs = servers.map(({ log }) => log)
  const verdict = judge(logs, convergence.finals)
  const structure = judgeStructure(
    servers.map(({ structureLog }) => structureLog),
    convergence.structures,
  )
  progress.done()
  const { leaderChanges } = stage
  await stage.all((server) => server.stop())
  return {
    servers: servers.map((server, position) => ({ ...server, quantities: convergence.finals[position]! })),
    counts: stage.counts,
    convergence,
    verdict,
    structure,
    movedItems: countMoved(logs, convergence.finals),
    withdrawals: countWithdrawals(logs),
    audit: judgeAudits(convergence.audits),
    leaderChanges,
    seconds: Math.round((environment.clock.monotonicMs() - startedMs) / 100) / 10,
  }
}
