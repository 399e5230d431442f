import type { MeshNodeOptions } from '../node/config.js'
import { MeshNode } from '../node/mesh-node.js'
import { ConfigError, LinkRefusedError, type RefusalReason, RefusedError } from '../sync/errors.js'
import type { Logger } from '../sync/logger.js'
import { type FileConfig, nodeOptions } from './config-file.js'
import type { CommandContext } from './context.js'
import { controlMethods } from './control-methods.js'
import { serveControl } from './control-server.js'
import { consumeFounding, founded, isToFound } from './founding.js'
import { interruption } from './signals.js'

export interface ForegroundOptions {
  readonly dataDir: string
  readonly config: FileConfig
  readonly logger: Logger
  /** A first entry into a mesh: a refusal that waiting cannot change ends the command. */
  readonly isFirstEntry: boolean
  readonly onStarted: (node: MeshNode, socketPath: string) => void
}

/** Refusals that only an operator can change. */
const FINAL_REFUSALS: ReadonlySet<RefusalReason> = new Set([
  'wrong-secret',
  'wrong-cluster',
  'name-in-use',
  'unsupported-version',
])

/** Runs a node until SIGINT or SIGTERM. @throws as `MeshNode.start`; RefusedError, DiskError */
export async function runInForeground(context: CommandContext, options: ForegroundOptions): Promise<void> {
  const { dataDir, config, logger } = options
  const { environment } = context
  const { signal, release } = interruption(environment.clock)
  try {
    const node = await startNode(context, dataDir, { ...nodeOptions(dataDir, config), environment, logger })
    try {
      const control = await serveControl(dataDir, controlMethods(node, environment.scheduler), logger)
      try {
        const refused = options.isFirstEntry ? refusal(node, dataDir) : undefined
        options.onStarted(node, control.path)
        await (refused ? Promise.race([aborted(signal), refused]) : aborted(signal))
        logger.info({ signal: signal.reason }, 'stopping; a second signal kills')
      } finally {
        await control.close()
      }
    } finally {
      await node.stop()
    }
  } finally {
    release()
  }
}

/** The first start after `init` founds the strong group; whatever goes wrong meanwhile, no other one does. */
async function startNode(
  { environment: { disk } }: CommandContext,
  dataDir: string,
  options: MeshNodeOptions,
): Promise<MeshNode> {
  if (!(await isToFound(disk, dataDir))) return MeshNode.start(options)
  let node: MeshNode
  try {
    node = await MeshNode.start({ ...options, found: true })
  } catch (error) {
    // A start before this one has founded it, and died before the mark was gone.
    if (!(error instanceof ConfigError && error.message.startsWith('found:'))) throw error
    node = await MeshNode.start(options)
    await consumeFounding(disk, dataDir)
    return node
  }
  founded(node)
    .then(() => consumeFounding(disk, dataDir))
    .then(
      () => options.logger?.info({ groupId: node.raft()?.groupId }, 'founded the strong group'),
      (error: unknown) => options.logger?.warn({ error }, 'the mark of the founding could not be removed'),
    )
  return node
}

/** Rejects when the mesh turns this server away before it is ready; otherwise never settles. */
function refusal(node: MeshNode, dataDir: string): Promise<never> {
  return new Promise((_, reject) => {
    const onRefused = ({
      peer,
      reason,
      detail,
      by,
    }: {
      peer: string
      reason: RefusalReason
      detail: string
      by: string
    }) => {
      if (by !== 'remote' || !FINAL_REFUSALS.has(reason)) return
      const advice =
        reason === 'name-in-use'
          ? `give another --server, and remove ${dataDir}`
          : `check the token, and remove ${dataDir} before you try another`
      reject(
        new RefusedError(`${peer} does not let this server in: ${advice}`, {
          cause: new LinkRefusedError(reason, detail),
        }),
      )
    }
    node.on('linkRefused', onRefused)
    node.ready.then(
      () => node.off('linkRefused', onRefused),
      () => undefined,
    )
  })
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
