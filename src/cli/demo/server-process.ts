import { createRealEnvironment } from '../../environment/real-environment.js'
import { MeshNode } from '../../node/mesh-node.js'
import { processContext } from '../context.js'
import { createLogger } from '../logs.js'
import { Game } from './game.js'
import type { Call, FromServer, MethodName, Methods, ServerState, StartParams } from './messages.js'

/** A process of its own that the demo forks: a game server with an embedded node. Told what to do over IPC. */
const environment = createRealEnvironment()
const PROGRESS_INTERVAL_MS = 100

let running: { readonly node: MeshNode; readonly game: Game } | undefined

type Handlers = {
  readonly [Name in MethodName]: (params: Methods[Name]['params']) => Promise<Methods[Name]['result']>
}

const handlers: Handlers = {
  start: async (params) => {
    const node = await startNode(params)
    running = { node, game: await Game.open(environment, node, params) }
    reportProgress()
    return { address: node.address }
  },
  play: async () => required().game.play(),
  rest: async () => {
    const { node, game } = required()
    await game.rest()
    await node.flush()
  },
  cut: async (servers) => required().node.setCut(servers),
  state: async () => describeState(required().node),
  quantities: async () => {
    const { node } = required()
    return node
      .storageIds()
      .flatMap(({ id }) =>
        [...node.storage(id).items()].map(({ item, quantity }) => [id, item, quantity.toString()] as const),
      )
  },
  stop: async () => required().node.stop(),
}

function startNode({ clusterId, serverId, secret, dataDir, peers }: StartParams): Promise<MeshNode> {
  return MeshNode.start({
    clusterId,
    serverId,
    secret: Uint8Array.from(Buffer.from(secret, 'hex')),
    dataDir,
    listen: { host: '127.0.0.1', port: 0 },
    peers,
    environment,
    logger: createLogger(processContext(), 'error', 'text'),
  })
}

function describeState(node: MeshNode): ServerState {
  const { numberingHeld, partitions } = node.status()
  const facts = partitions.map(({ partition, versionVector, checksum }) => {
    const rows = Object.entries(versionVector).sort(([left], [right]) => (left < right ? -1 : 1))
    return [partition, checksum, rows]
  })
  return {
    linked: node.members().flatMap(({ linked, serverId }) => (linked ? [serverId] : [])),
    numberingHeld,
    settled: partitions.every(({ settled }) => settled),
    fingerprint: JSON.stringify(facts),
  }
}

function required(): NonNullable<typeof running> {
  if (!running) throw new Error('the node has not been started')
  return running
}

function reportProgress(): void {
  const { operations, acknowledged } = required().game
  say({ progress: { operations, acknowledged } })
  environment.scheduler.after(PROGRESS_INTERVAL_MS, reportProgress)
}

function say(message: FromServer): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined)
}

process.on('message', ({ id, method, params }: Call) => {
  const handler = handlers[method] as (params: unknown) => Promise<unknown>
  handler(params).then(
    (result) => say({ id, result: result ?? null }),
    (error: unknown) =>
      say({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  )
})
// Without its orchestrator it has no business; Ctrl-C reaches both, and the orchestrator decides.
process.on('disconnect', () => process.exit())
process.on('SIGINT', () => undefined)
