import type { Command } from 'commander'
import { MeshNode } from '../../node/mesh-node.js'
import { NoQuorumError, UsageError } from '../../sync/errors.js'
import { nodeOptions } from '../config-file.js'
import type { CommandContext } from '../context.js'
import { findDataDir, requireConfig } from '../data-directory.js'
import { describeRaft } from '../describe.js'
import { founded } from '../founding.js'
import { createLogger } from '../logs.js'
import { type JsonValue, painter, printJson, printTable } from '../output.js'
import {
  addClientOptions,
  addDataDir,
  addJson,
  addTimeout,
  ask,
  askStrong,
  type CommonOptions,
  type TimedOptions,
} from './common.js'

interface RaftJson {
  readonly group_id: string
  readonly epoch: number
  readonly role: string
  readonly term: number
  readonly leader: string | null
  readonly commit_index: number
  readonly applied_index: number
  readonly peers: readonly {
    readonly server_id: string
    readonly voter: boolean
    readonly match_index: number | null
    readonly active: boolean | null
  }[]
}

interface RecoverOptions extends CommonOptions {
  readonly acceptDataLoss?: boolean
}

/** A recovered server leads after an election timeout or two. */
const RECOVERY_TIMEOUT_MS = 30_000
const RECOVERY_LOCK = 'silo-mesh:recovery'

const LOSS = `The other voters of the strong group are given up. Whatever only they had is lost: anchors, transfers and locks
that were created, changed or deleted without reaching this server. Item quantities are not touched. Do this on
one server only, the one with the highest applied index, and only when a majority of the voters is gone for good;
otherwise two groups go on side by side, and one of them loses when they meet.`

export function addRaft(program: Command, context: CommandContext): void {
  const raft = program
    .command('raft')
    .description('the strong group, which holds anchors, transfers and locks')
  const peers = raft.command('peers').description('its voters and learners, as one server sees them')
  addClientOptions(peers).action((options: CommonOptions) => showPeers(context, options))
  const transfer = raft
    .command('transfer')
    .description('hand leadership to another voter, before maintenance of the leader')
    .argument('<server>')
  addTimeout(addClientOptions(transfer)).action((server: string, options: TimedOptions) =>
    handOver(context, server, options),
  )
  const recover = raft
    .command('recover')
    .description('on a stopped server: go on alone when a majority of the voters is lost for good')
    .option('--accept-data-loss', 'admits what is lost; needed')
  addJson(addDataDir(recover, 'default: this directory, or the only one in ./data'))
    .addHelpText('after', `\n${LOSS}`)
    .action((options: RecoverOptions) => recoverGroup(context, options))
}

async function showPeers(context: CommandContext, options: CommonOptions): Promise<void> {
  const { stdout, stderr, variables } = context
  const view = await ask<RaftJson | null>(context, options, 'raft')
  if (options.json) {
    printJson(stdout, view as unknown as JsonValue)
    return
  }
  if (view === null || view.group_id === '') {
    stderr.write(
      'this server is in no strong group yet: the founder (`silo-mesh init`) takes it in once they are linked\n',
    )
    return
  }
  const paint = painter(stdout, variables)
  const leader =
    view.leader === null ? paint('none: no majority answers', 'bad') : paint(view.leader, 'strong')
  stdout.write(
    `leader ${leader}, term ${view.term}, epoch ${view.epoch}; this server is ${view.role}, applied ${view.applied_index} of ${view.commit_index}\n`,
  )
  const rows = view.peers.map(({ server_id, voter, match_index, active }) => [
    server_id,
    server_id === view.leader ? 'leader' : voter ? 'voter' : 'learner',
    active === null ? '' : active ? paint('yes', 'good') : paint('no', 'bad'),
    match_index === null ? '' : String(match_index),
  ])
  printTable(stdout, ['server', 'part', 'answers', 'holds up to'], rows)
  if (view.role !== 'leader') stderr.write('only the leader knows who answers and what they hold: ask it\n')
}

async function handOver(context: CommandContext, server: string, options: TimedOptions): Promise<void> {
  const view = await askStrong<RaftJson>(context, options, 'raft_transfer', { server_id: server })
  if (options.json) printJson(context.stdout, view as unknown as JsonValue)
  else context.stdout.write(`${view.leader} leads the strong group, term ${view.term}\n`)
}

async function recoverGroup(context: CommandContext, options: RecoverOptions): Promise<void> {
  const { environment, stdout, stderr } = context
  const dataDir = await findDataDir(options.dataDir, context)
  const config = await requireConfig(environment.disk, dataDir)
  if (!options.acceptDataLoss)
    throw new UsageError(`${LOSS}\nNothing has been done. To go on: add --accept-data-loss`)
  stderr.write(`${LOSS}\n`)
  const node = await MeshNode.start({
    ...nodeOptions(dataDir, config),
    recoverRaft: 'accept-data-loss',
    environment,
    logger: createLogger(context, 'warn', undefined),
  })
  try {
    await inTime(context, founded(node))
    // What it had is its own again once the new epoch has committed it, and on disk as such with the writes after it.
    await node.executeAtomic(RECOVERY_LOCK, () => undefined, { timeoutMs: RECOVERY_TIMEOUT_MS })
    const view = node.raft()!
    if (options.json) printJson(stdout, describeRaft(view))
    else {
      const others = node.members().flatMap(({ serverId, self }) => (self ? [] : [serverId]))
      stdout.write(
        `Recovered: ${config.server_id} is the only voter, epoch ${view.epoch}, applied ${view.appliedIndex}.` +
          ` Given up as voters: ${others.join(', ') || 'none'}.\n` +
          `Next:\n  silo-mesh join --data-dir ${dataDir}      run it; servers that join or return become voters again\n` +
          `  silo-mesh anchor list --data-dir ${dataDir}      see what is there, and make again what is missing\n`,
      )
    }
  } finally {
    await node.stop()
  }
}

function inTime(context: CommandContext, work: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = context.environment.scheduler.after(RECOVERY_TIMEOUT_MS, () =>
      reject(
        new NoQuorumError(
          `this server does not lead after ${RECOVERY_TIMEOUT_MS} ms: look at its log, and repeat`,
        ),
      ),
    )
    work.then(resolve, reject).finally(() => timer.cancel())
  })
}
